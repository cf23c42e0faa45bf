"""The files that torch.save writes, read without torch: a zip of raw arrays, or before torch 1.6 one stream.

Call `read_archive`, then `to_arrays` on its tensors. No code from a file is run (`tensor_pickle`).
"""

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from selftrain_jax.pretrain.tensor_pickle import DamagedError, Tensor, read_pickle

Array = Shaped[np.ndarray, "..."]
MAX_DIMENSIONS = 32
# What zipfile raises on damaged bytes that are in memory; names that are no text are a ValueError.
ZIP_ERRORS = (
    *(zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError, EOFError, ValueError),
    *(struct.error, zlib.error),
)
MAX_SHARED = 8  # tensors may share storages, as tied weights do
MAGIC = 0x1950A86A20F9469CFC6C  # of files before torch 1.6
BFLOAT16 = "torch.BFloat16Storage"
DTYPES: dict[str, str] = {
    "torch.DoubleStorage": "<f8",
    "torch.FloatStorage": "<f4",
    "torch.HalfStorage": "<f2",
    BFLOAT16: "<u2",  # the upper half of a float32
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
    "torch.ShortStorage": "<i2",
    "torch.CharStorage": "i1",
    "torch.ByteStorage": "u1",
    "torch.BoolStorage": "?",
}


class NotPlainError(Exception):
    """A tensor that is no plain array: sparse, quantised, complex or without content."""


class Archive(NamedTuple):
    """What a file holds, and the bytes of its storages by their keys."""

    content: Any
    storages: dict[str, bytes]


def read_archive(path: Path) -> Archive:
    """Read a file whole.

    Raises:
        RefusedError: as `read_pickle`.
        DamagedError: as `read_pickle`, or parts of the file are missing.
        NotPlainError: a storage has numbers that numpy does not know.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    if zipfile.is_zipfile(io.BytesIO(data)):
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                return _read_zip(archive, len(data))
        except ZIP_ERRORS as error:
            raise DamagedError(f"a damaged zip ({str(error)[:100]})") from error
    return _read_stream(data)


def _read_zip(archive: zipfile.ZipFile, size: int) -> Archive:
    names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(names) != 1:
        raise DamagedError("a zip without data.pkl, not of torch.save")
    root = names[0].removesuffix("data.pkl")
    content, _ = read_pickle(_read_member(archive, names[0]))
    if f"{root}byteorder" in archive.namelist() and _read_member(archive, f"{root}byteorder") != b"little":
        raise DamagedError("it was written on a machine of another byte order")
    keys = {tensor.storage.key for tensor in find_tensors(content)}
    members = [archive.getinfo(f"{root}data/{key}") for key in sorted(keys)]
    # Members may lie over one another, so that a small file has many large ones.
    if sum(member.file_size for member in members) > size:
        raise DamagedError("its members are larger than the file")
    return Archive(content, {key: _read_member(archive, f"{root}data/{key}") for key in keys})


def _read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return a member, which torch never compresses: a small file cannot become a large one."""
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise DamagedError(f"{name} is compressed, as torch.save does not")
    return archive.read(name)


def _read_stream(data: bytes) -> Archive:
    magic, position = read_pickle(data)
    if magic != MAGIC:
        raise DamagedError("it does not begin as torch.save's files do")
    _, position = read_pickle(data, position)  # the protocol
    system, position = read_pickle(data, position)
    if not (isinstance(system, dict) and system.get("little_endian", True)):
        raise DamagedError("it was written on a machine of another byte order")
    content, position = read_pickle(data, position)
    keys, position = read_pickle(data, position)
    kinds = {tensor.storage.key: tensor.storage.kind for tensor in find_tensors(content)}
    storages = {}
    for key in keys:
        end = position + 8 + _count(data, position) * dtype_of(kinds.get(key, "")).itemsize
        if end > len(data):
            raise DamagedError(f"it is cut off: {len(data)} bytes, at least {end} expected")
        storages[key] = data[position + 8 : end]
        position = end
    return Archive(content, storages)


def _count(data: bytes, position: int) -> int:
    if len(data) < position + 8:
        raise DamagedError(f"it is cut off after {len(data)} bytes")
    return struct.unpack_from("<Q", data, position)[0]


def dtype_of(kind: str) -> np.dtype[Any]:
    """Return numpy's type of a storage's numbers. Raises: NotPlainError."""
    if kind not in DTYPES:
        raise NotPlainError(f"numbers of {kind[:100] or 'a storage that no tensor uses'}")
    return np.dtype(DTYPES[kind])


def find_tensors(content: Any) -> Iterator[Tensor]:
    """Give every tensor in nested containers, each container once."""
    waiting, seen = [content], set[int]()
    while waiting:
        value = waiting.pop()
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            waiting += value.values() if isinstance(value, dict) else value


def to_arrays(tensors: Mapping[str, Tensor], storages: Mapping[str, bytes]) -> dict[str, Array]:
    """Return the numbers of tensors, half precision as float32.

    Raises:
        DamagedError: one reaches outside its storage, or they share storages many times over.
        NotPlainError: one is larger than its storage, or has numbers that numpy does not know.
    """
    for tensor in tensors.values():
        if tensor.storage.key not in storages:
            raise DamagedError("a tensor without its numbers")
        _check_view(tensor, len(storages[tensor.storage.key]))
    total = sum(
        math.prod(tensor.shape) * dtype_of(tensor.storage.kind).itemsize for tensor in tensors.values()
    )
    if total > MAX_SHARED * sum(map(len, storages.values())):
        raise DamagedError(f"its tensors would take {total} bytes, many times what the file has")
    return {name: _to_array(tensor, storages[tensor.storage.key]) for name, tensor in tensors.items()}


def _to_array(tensor: Tensor, raw: bytes) -> Array:
    dtype = dtype_of(tensor.storage.kind)
    flat = np.frombuffer(raw, dtype)[tensor.offset :]
    strides = [step * dtype.itemsize for step in tensor.stride]
    array = np.lib.stride_tricks.as_strided(flat, tensor.shape, strides, writeable=False)
    if tensor.storage.kind == BFLOAT16:
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32) if dtype == np.float16 else np.array(array)


def _check_view(tensor: Tensor, num_bytes: int) -> None:
    """See that a view stays inside its storage and is no larger."""
    numbers, num = (tensor.offset, *tensor.shape, *tensor.stride), tensor.storage.num
    if any(type(number) is not int or number < 0 for number in numbers):
        raise DamagedError("a tensor whose offset, shape and stride are not whole numbers from 0")
    if len(tensor.shape) != len(tensor.stride) or len(tensor.shape) > MAX_DIMENSIONS:
        raise DamagedError(f"a tensor of {len(tensor.shape)} dimensions and {len(tensor.stride)} strides")
    if num_bytes != num * dtype_of(tensor.storage.kind).itemsize:
        raise DamagedError(f"a storage of {num_bytes} bytes that should have {num} numbers")
    count = math.prod(tensor.shape)
    steps = zip(tensor.shape, tensor.stride, strict=True)
    if count and tensor.offset + sum((side - 1) * step for side, step in steps) >= num:
        raise DamagedError(f"a tensor of shape {tensor.shape} beyond its {num} numbers")
    if count > num:
        raise NotPlainError(f"a tensor of shape {tensor.shape} that repeats {num} numbers")
