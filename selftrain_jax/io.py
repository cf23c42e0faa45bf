"""Small files: JSON that others wrote, and files that are written whole or not at all.

`read_json` and `write_json` are for the files of a run's folder; `atomic_write` is for any other file.
`parse_json` reads a document of the user's, whatever its size.
"""

import hashlib
import json
import os
import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from selftrain_jax.errors import InputError

MAX_DEPTH = 64  # of nested lists and objects; Python's own functions fail some hundreds deep


@contextmanager
def atomic_write(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file to write; it appears under its name when the block ends, and not at all if the block fails.

    The content is on the disk before the name is. The folder of `path` must exist.
    """
    unfinished = path.with_name(path.name + ".tmp")
    try:
        with open(unfinished, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all."""
    with atomic_write(path) as file:
        json.dump(value, file, indent=1)


def read_json(path: Path, remedy: str) -> Any:
    """Read a JSON file of a run's folder.

    Raises:
        InputError: the file is missing or not JSON; the message ends with `remedy`.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist: {remedy}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): {remedy}") from error
    return parse_shallow_json(text, str(path), f"Remedy: {remedy}")


def parse_json(text: bytes | str, where: str, remedy: str = "The file may be cut off; make it again.") -> Any:
    """Parse a document. NaN and Infinity are numbers; of a key that is twice in an object the last counts.

    Raises: InputError, naming `where`, for what is no JSON or no text, for nesting and for integers beyond
    what Python takes.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}:{error.lineno}:{error.colno}: not JSON ({error.msg}). {remedy}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON ({str(error)[:200]}). {remedy}") from error


def parse_shallow_json(text: bytes | str, where: str, remedy: str) -> Any:
    """Parse a document of at most `MAX_DEPTH` lists and objects in each other. Raises: as `parse_json`."""
    document = parse_json(text, where, remedy)
    level, depth = [document], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise InputError(
                f"{where}: nested more than {MAX_DEPTH} deep, which no file of ours is. {remedy}"
            )
        children = (child for node in level if isinstance(node, dict | list) for child in _inside(node))
        level = [child for child in children if isinstance(child, dict | list)]
    return document


def show(value: Any) -> str:
    """Write a value of a document for messages, in short however large and deep it is."""
    return reprlib.repr(value)


def _inside(node: dict | list) -> Any:
    return node.values() if isinstance(node, dict) else node
