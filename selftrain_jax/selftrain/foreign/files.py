"""The files and folders that other models' predictions come in: found, told from archives, identified.

Call `read_paths` on a config value, `require_predictions` on each path; `hash_content` identifies one,
`identify_models` those of a set of labels.
"""

import hashlib
import os
import shlex
from pathlib import Path

from selftrain_jax.data.image_files import unpack_command
from selftrain_jax.errors import InputError
from selftrain_jax.io import hash_file
from selftrain_jax.run_files.fields import JsonObject

COUNTED = (".txt", ".png", ".json", ".csv")  # files of a folder that hold predictions


def read_paths(text: str) -> tuple[Path, ...]:
    """Read a list of paths, separated by commas."""
    return tuple(Path(part.strip()) for part in text.split(",") if part.strip())


def one_each(text: str, count: int, key: str) -> tuple[str, ...]:
    """Read a list that has nothing, one value for all, or one for each of `count` predictions.

    Raises:
        InputError: it has another length.
    """
    parts = tuple(part.strip() for part in text.split(",")) if text.strip() else ("",)
    if len(parts) not in (1, count):
        raise InputError(
            f"{key} lists {len(parts)} values for {count} predictions (config.foreign.predictions); give "
            "none, one for all, or one for each, separated by commas"
        )
    return parts if len(parts) == count else parts * count


def require_predictions(path: Path, key: str) -> Path:
    """Return a path that is a folder, or a file with content.

    Raises:
        InputError: there is none, it is empty, or it is an archive: with the command that unpacks it.
    """
    if path.is_dir():
        if not any(path.rglob("*")):
            raise InputError(f"{path} ({key}) is an empty folder; expected the predictions' files in it")
        return path
    if not path.is_file():
        raise InputError(f"{path} ({key}) does not exist; check the path")
    if not path.stat().st_size:
        raise InputError(f"{path} ({key}) is empty; the model's export was not finished: make it again")
    if command := _unpacking(path):
        raise InputError(
            f"{path} ({key}) is an archive; unpack it with `{command}` and name what is in the folder"
        )
    return path


def _unpacking(path: Path) -> str:
    """Return the command that unpacks an archive beside itself; "" for another file."""
    command = unpack_command(path)
    return command or (f"gunzip -k {shlex.quote(str(path))}" if path.suffix.lower() == ".gz" else "")


def hash_content(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of a folder's; "" where there is none."""
    if path.is_file():
        return hash_file(path)
    if not path.is_dir():
        return ""
    hasher = hashlib.sha256()
    for name, file in sorted((os.path.relpath(file, path), file) for file in list_files(path)):
        hasher.update(f"{name} {hash_file(file)}\n".encode())
    return hasher.hexdigest()


def identify_models(provenance: JsonObject) -> JsonObject:
    """Return what other models' predictions hold, of a set's provenance; not their names and places."""
    if "foreign" not in provenance:
        return {}
    left_out = ("model", "file")
    models = provenance["foreign"]
    return {"foreign": [{key: own[key] for key in own if key not in left_out} for own in models]}


def list_files(folder: Path, suffixes: tuple[str, ...] = COUNTED) -> list[Path]:
    """List the files below a folder whose names end so, hidden ones left out, in order."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
    return sorted(path for path in found if not path.name.startswith("."))
