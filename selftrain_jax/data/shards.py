"""TFRecord files, written whole or not at all, with random access to their records.

Call `write_shard`; read with `index_shard` and `read_record`. `data/records.py` says what a record
holds. Files are plain TFRecords, so `tf.data` reads them too. Local files only.
"""

import contextlib
import errno
import hashlib
import mmap
import os
import shutil
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import google_crc32c
import numpy as np

from selftrain_jax.errors import InputError
from selftrain_jax.io import atomic_write

_LENGTH = struct.Struct("<QI")  # a record's length and the checksum of its eight bytes
_CHECKSUM = struct.Struct("<I")
_REWRITE = "Delete this shard and the manifest and run the same command again to rewrite it."


class WrittenShard(NamedTuple):
    """What is known of a file of records when it has been written."""

    offsets: np.ndarray  # of each record, in bytes
    num_bytes: int
    sha256: str


def write_shard(path: Path, records: Iterable[bytes]) -> WrittenShard:
    """Write records to `path` at once or not at all.

    Raises:
        InputError: the disk is full. Neither `path` nor a half-written file is left.
    """
    offsets, size, hasher = list[int](), 0, hashlib.sha256()
    try:
        with atomic_write(path, "wb") as file:
            for record in records:
                frame = _frame(record)
                file.write(frame)
                hasher.update(frame)
                offsets.append(size)
                size += len(frame)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        free = shutil.disk_usage(path.parent).free / 2**20
        raise InputError(
            f"{path}: the disk is full ({free:.0f} MiB free in {path.parent}); the half-written file was "
            "removed. Free some space and run the same command again: it goes on at this shard."
        ) from error
    return WrittenShard(np.array(offsets, np.int64), size, hasher.hexdigest())


def index_shard(path: Path) -> np.ndarray:
    """Return the byte offset of each record, reading only the lengths.

    Raises:
        InputError: the file is missing, cut off or damaged; file, offset and sizes are named.
    """
    offsets, damage = walk_shard(path)
    if damage:
        raise InputError(damage)
    return offsets


def walk_shard(path: Path) -> tuple[np.ndarray, str]:
    """Return the offset of each record up to the first damaged length, and what is wrong there, or "".

    Raises:
        InputError: the file cannot be read.
    """
    offsets: list[int] = []
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size:
                with contextlib.closing(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) as content:
                    offsets.extend(_walk(content, size, path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except InputError as error:
        return np.array(offsets, np.int64), str(error)
    return np.array(offsets, np.int64), ""


def read_record(path: Path, offset: int) -> bytes:
    """Return the record at `offset`, which `index_shard` gave.

    Raises:
        InputError: the file is missing, cut off, or its checksums do not agree with its bytes.
    """
    try:
        with path.open("rb") as file:
            left = os.fstat(file.fileno()).st_size - offset
            file.seek(offset)
            length = _length(file.read(_LENGTH.size), offset, path)
            body = file.read(min(length + _CHECKSUM.size, left))  # a wrong length must not cost memory
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if len(body) < length + _CHECKSUM.size:
        raise _cut_off(path, offset, _LENGTH.size + length + _CHECKSUM.size, _LENGTH.size + len(body))
    record = body[:length]
    if _masked_crc(record) != _CHECKSUM.unpack(body[length:])[0]:
        raise _damaged(path, offset, "data")
    return record


def ends_with_record(path: Path, offset: int) -> bool:
    """Tell whether the record at `offset` is the file's last one; only its length is read."""
    with path.open("rb") as file:
        file.seek(offset)
        header = file.read(_LENGTH.size)
        size = os.fstat(file.fileno()).st_size
    try:
        length = _length(header, offset, path)
    except InputError:
        return False
    return offset + _LENGTH.size + length + _CHECKSUM.size == size


def _walk(content: mmap.mmap, size: int, path: Path) -> Iterator[int]:
    offset = 0
    while offset < size:
        length = _length(content[offset : offset + _LENGTH.size], offset, path)
        end = offset + _LENGTH.size + length + _CHECKSUM.size
        if end > size:
            raise _cut_off(path, offset, end - offset, size - offset)
        yield offset
        offset = end


def _length(header: bytes, offset: int, path: Path) -> int:
    if len(header) < _LENGTH.size:
        raise _cut_off(path, offset, _LENGTH.size, len(header))
    length, checksum = _LENGTH.unpack(header)
    if _masked_crc(header[:8]) != checksum:
        raise _damaged(path, offset, "length")
    return length


def _frame(record: bytes) -> bytes:
    length = struct.pack("<Q", len(record))
    return length + _CHECKSUM.pack(_masked_crc(length)) + record + _CHECKSUM.pack(_masked_crc(record))


def _masked_crc(data: bytes) -> int:
    """Checksum as TFRecord masks it: crc32c rotated right by 15 bits, plus a constant."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _cut_off(path: Path, offset: int, expected: int, actual: int) -> InputError:
    return InputError(
        f"{path}: cut off in the record at byte {offset}: expected {expected} bytes, found {actual}. "
        f"{_REWRITE}"
    )


def _damaged(path: Path, offset: int, part: str) -> InputError:
    return InputError(
        f"{path}: the {part} of the record at byte {offset} does not match its checksum. {_REWRITE}"
    )
