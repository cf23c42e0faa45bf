"""The files of a checkpoint on the disk: room for them, checksums over them, removal of unfinished ones.

`write_checksums` when all files are written, `find_damage` before they are read; `check_disk_space` before a
save and `explain_full_disk` around it.
"""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import google_crc32c
import jax

from selftrain_jax.errors import InputError
from selftrain_jax.io import write_json

FOLDER_NAME = "checkpoints"
CHECKSUMS_FILE = "checksums.json"
CHUNK_BYTES = 2**22
SPARE_MIB = 1.0  # for names and shapes


def saved_steps(directory: Path) -> list[int]:
    """List the steps whose checkpoints are whole, of a stage's folder, in order; nothing is opened."""
    folder = directory / FOLDER_NAME
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(int(name) for name in names if name.isdecimal())


def write_checksums(folder: Path) -> None:
    """Write the size and the checksum of every file to `checksums.json`, unless that exists."""
    path = folder / CHECKSUMS_FILE
    if not path.exists():
        write_json(path, {name: [file.stat().st_size, _checksum(file)] for name, file in _files(folder)})


def find_damage(folder: Path) -> str | None:
    """Compare the files with their checksums; None if they agree, or if a crash came before the checksums."""
    path = folder / CHECKSUMS_FILE
    if not path.exists():
        return None
    try:
        sums = dict(json.loads(path.read_text(encoding="utf-8")))
        expected = {str(name): (int(size), int(checksum)) for name, (size, checksum) in sums.items()}
    except (OSError, ValueError, TypeError, OverflowError, RecursionError) as error:
        return f"{path} cannot be read ({error})"
    files = dict(_files(folder))
    for name, (size, checksum) in expected.items():
        if name not in files:
            return f"{folder / name} is missing"
        if files[name].stat().st_size != size:
            return f"{folder / name} has {files[name].stat().st_size} bytes, {size} were written"
        if _checksum(files[name]) != checksum:
            return f"{folder / name} does not match its checksum"
    return None


def check_disk_space(directory: Path, size_mib: float) -> None:
    """Check before a save that it fits; when a disk fills up during a save, orbax prints tracebacks.

    Raises:
        OSError: there is no room (ENOSPC).
    """
    if shutil.disk_usage(directory).free < (1.1 * size_mib + SPARE_MIB) * 2**20:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(directory))


@contextmanager
def explain_full_disk(directory: Path, size_mib: float) -> Iterator[None]:
    """Turn a full disk into an InputError, and remove what is half-written.

    Raises:
        InputError: the disk is full.
    """
    try:
        yield
    except Exception as error:
        if not is_full_disk(error):
            raise
        remove_unfinished(directory)
        free_mib = shutil.disk_usage(directory).free / 2**20
        raise InputError(
            f"the disk is full: a checkpoint could not be saved in {directory}, where {free_mib:.0f} MiB are "
            f"free and a checkpoint takes about {size_mib:.0f} MiB. Make room or choose another "
            "workdir, then run the same command again; it resumes from the last whole checkpoint"
        ) from error


def remove_unfinished(directory: Path) -> None:
    """Remove what a crash or a full disk left half-written; orbax renames a checkpoint when it is whole."""
    if jax.process_index() == 0:
        for unfinished in directory.glob("*.orbax-checkpoint-tmp*"):
            shutil.rmtree(unfinished, ignore_errors=True)


def is_full_disk(error: BaseException) -> bool:
    """Look for ENOSPC along the chain of causes; tensorstore keeps only its text."""
    is_full = isinstance(error, OSError) and error.errno == errno.ENOSPC
    cause = error.__cause__ or error.__context__
    return is_full or "No space left on device" in str(error) or (cause is not None and is_full_disk(cause))


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / CHECKSUMS_FILE and path.suffix != ".tmp":
            yield path.relative_to(folder).as_posix(), path


def _checksum(path: Path) -> int:
    checksum = google_crc32c.Checksum()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            checksum.update(chunk)
    return int.from_bytes(checksum.digest(), "big")
