"""Checksums of a checkpoint's files: one whose bits have changed on the disk is not taken for a good one.

Call `seal` when all files are written, `find_damage` before they are read.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import google_crc32c

FILE_NAME = "checksums.json"
CHUNK_BYTES = 2**22


def seal(folder: Path) -> None:
    """Write down size and checksum of every file, unless it was done."""
    path = folder / FILE_NAME
    if path.exists():
        return
    found = {name: [file.stat().st_size, _checksum(file)] for name, file in _files(folder)}
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(json.dumps(found, indent=1), encoding="utf-8")
    os.replace(unfinished, path)


def find_damage(folder: Path) -> str | None:
    """Say what is wrong with a sealed folder; None when all is well, or when a crash came before the seal."""
    path = folder / FILE_NAME
    if not path.exists():
        return None
    try:
        expected = dict(json.loads(path.read_text(encoding="utf-8")))
        wanted = {str(name): (int(size), int(checksum)) for name, (size, checksum) in expected.items()}
    except (OSError, ValueError, TypeError, OverflowError, RecursionError) as error:
        return f"{path} cannot be read ({error})"
    found = dict(_files(folder))
    for name, (size, checksum) in wanted.items():
        if name not in found:
            return f"{folder / name} is missing"
        if found[name].stat().st_size != size:
            return f"{folder / name} has {found[name].stat().st_size} bytes, {size} were written"
        if _checksum(found[name]) != checksum:
            return f"{folder / name} does not match its checksum"
    return None


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / FILE_NAME and path.suffix != ".tmp":
            yield path.relative_to(folder).as_posix(), path


def _checksum(path: Path) -> int:
    checksum = google_crc32c.Checksum()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            checksum.update(chunk)
    return int.from_bytes(checksum.digest(), "big")
