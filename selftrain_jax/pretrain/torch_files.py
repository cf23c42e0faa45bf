"""Weights in PyTorch's two file formats, read without running code from them; call `read_torch_file`.

Not in the paper: timm and torchvision have the checkpoints that it starts from in these formats.
"""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from selftrain_jax.errors import InputError
from selftrain_jax.pretrain.tensor_pickle import DamagedError, RefusedError, Tensor
from selftrain_jax.pretrain.torch_archive import NotPlainError, read_archive, to_arrays

Arrays = dict[str, Shaped[np.ndarray, "..."]]

SAFETENSORS_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),  # the upper half of a float32
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
MAX_HEADER_BYTES = 100_000_000
MAX_DIMENSIONS = 32
MAX_ELEMENTS = 2**48
# What makes tensors of other kinds: sparse, quantised, or without content.
OTHER_TENSORS = ("torch._utils._rebuild", "torch.serialization._get_layout")
WRAPPERS = ("state_dict", "model")  # keys under which training scripts keep the weights


class Entry(NamedTuple):
    """The position of an array in the data of a safetensors file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def read_torch_file(path: Path | str) -> Arrays:
    """Read a state dict; half precision becomes float32.

    Raises:
        InputError: the file is missing, damaged, of another format, or a pickle with code in it.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file of weights; expected .safetensors, .pth, .pt or .bin")
    _refuse_text(path)
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    if path.suffix in (".pth", ".pt", ".bin"):
        return _read_pickled(path)
    raise InputError(
        f"{path}: files of weights end in .safetensors, .pth, .pt or .bin, not in {path.suffix!r}"
    )


def _refuse_text(path: Path) -> None:
    """Refuse what is downloaded in place of a file. Raises: InputError, with what it is."""
    with path.open("rb") as file:
        start = file.read(100).lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        raise InputError(f"{path} is a Git LFS pointer, not the file itself; get it with: git lfs pull")
    if start.startswith((b"<!doctype html", b"<html")):
        raise InputError(f"{path} is a web page, not weights; download the file itself")


def read_safetensors(path: Path) -> Arrays:
    """Read a safetensors file: 8 bytes with the header's length, a JSON header, the arrays in a row.

    Raises:
        InputError: the header is damaged or does not agree with the file's size.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, MAX_HEADER_BYTES):
            raise InputError(
                f"{path}: the header should have {length} bytes, but the file has {size} in all; get it again"
            )
        header = file.read(length)
    entries = _parse_header(header, num_data_bytes=size - 8 - length, where=path)
    data = np.memmap(path, np.uint8, "r", offset=8 + length) if size > 8 + length else np.empty(0, np.uint8)
    return {entry.name: _to_array(data, entry) for entry in entries}


def _parse_header(header: bytes, *, num_data_bytes: int, where: Path) -> list[Entry]:
    """Return the arrays in the order of their data, after a check that they fill it exactly."""
    try:
        items = json.loads(header, object_pairs_hook=_refuse_duplicates)
        entries = [_parse_entry(name, item) for name, item in items.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{where}: not a safetensors header ({str(error)[:200]}); get the file again"
        ) from error
    entries.sort(key=lambda entry: (entry.start, entry.end))
    position = 0
    for entry in entries:
        expected = math.prod(entry.shape) * SAFETENSORS_DTYPES[entry.dtype].itemsize
        if entry.start != position or entry.end - entry.start != expected or entry.end > num_data_bytes:
            raise InputError(
                f"{where}: the header is wrong about {entry.name!r}: {entry.dtype} {list(entry.shape)} takes "
                f"{expected} bytes and should begin at {position} of {num_data_bytes}, but bytes "
                f"{entry.start} to {entry.end} are given. The file is damaged; get it again"
            )
        position = entry.end
    if position != num_data_bytes:
        raise InputError(
            f"{where}: its arrays take {position} bytes, but {num_data_bytes} follow the header; get it again"
        )
    return entries


def _parse_entry(name: str, item: Any) -> Entry:
    shape, (start, end) = item["shape"], item["data_offsets"]
    if item["dtype"] not in SAFETENSORS_DTYPES:
        raise ValueError(f"{name!r} is of type {item['dtype']!r}, not one of {', '.join(SAFETENSORS_DTYPES)}")
    if len(shape) > MAX_DIMENSIONS:
        raise ValueError(f"{name!r} has {len(shape)} dimensions; expected at most {MAX_DIMENSIONS}")
    for number in (*shape, start, end):
        if type(number) is not int or number < 0:
            raise ValueError(f"{name!r} has {number!r} among its shape {shape} and offsets {start}, {end}")
    if max(start, end, math.prod(side or 1 for side in shape)) >= MAX_ELEMENTS:
        raise ValueError(f"{name!r} has {MAX_ELEMENTS} numbers or more; no file is that large")
    return Entry(name, item["dtype"], tuple(shape), start, end)


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        raise ValueError(f"{Counter(key for key, _ in pairs).most_common(1)[0][0]!r} occurs twice")
    return unique


def _to_array(data: Shaped[np.ndarray, " N"], entry: Entry) -> Shaped[np.ndarray, "..."]:
    raw = data[entry.start : entry.end].view(SAFETENSORS_DTYPES[entry.dtype]).reshape(entry.shape)
    if entry.dtype == "BF16":
        return (raw.astype(np.uint32) << 16).view(np.float32)
    return raw.astype(np.float32) if entry.dtype == "F16" else np.array(raw)


def _read_pickled(path: Path) -> Arrays:
    """Read a file of `torch.save`; PyTorch is not needed."""
    try:
        content, storages = read_archive(path)
        tensors = _state_dict(content, path)
        return to_arrays(tensors, storages)
    except RefusedError as error:
        if error.name.startswith(OTHER_TENSORS):
            raise InputError(f"{path} has a tensor that is no plain array: {error.name}") from error
        raise InputError(
            f"{path} has other things than tensors, which could run code on this machine: it asks for "
            f"{error.name[:100]}. Nothing was run. Save only the state_dict(), or save it as .safetensors"
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error
    except NotPlainError as error:
        raise InputError(f"{path} has a tensor that is no plain array: {error}") from error
    except DamagedError as error:
        raise InputError(f"{path} is not a whole file of torch.save: {error}; get it again") from error


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    """Return the dict of tensors, without a training script's wrapper and DataParallel's prefix."""
    for key in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path} has a {type(content).__name__}; expected a state dict, tensors by name")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise InputError(f"{path}: {name!r} is a {type(value).__name__}; a state dict has only tensors")
    return {name.removeprefix("module."): tensor for name, tensor in content.items()}
