"""One array out of a MATLAB file of version 5 or 7, from files that are not trusted.

Call `read_struct_field`. SciPy's reader crashes the process on some damaged files (an unknown type code
is an index out of bounds there), and unpacks without limit.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from selftrain_jax.errors import InputError

MAX_BYTES = 2**27  # unpacked
_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15  # element types
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_STRUCT, _NUMERIC_CLASSES = 2, range(6, 16)  # array classes


class _Element(NamedTuple):
    type_code: int
    body: memoryview


class _Array(NamedTuple):
    class_code: int
    shape: tuple[int, ...]
    name: str
    content: Iterator[_Element]


class _MalformedError(ValueError):
    """The bytes are not such a file; the message says why in a few words."""


def read_struct_field(encoded: bytes, variable: str, field: str, where: str) -> np.ndarray:
    """Return the numeric array `variable.field`, rows first, of any number of dimensions.

    Raises:
        InputError: another kind of file, a damaged one, or a field that is missing or holds no numbers.
    """
    try:
        order = _byte_order(encoded)
        for element in _elements(memoryview(encoded)[_HEADER_BYTES:], order, is_top=True):
            array = _read_array(_unpack(element, order), order)
            if array.name == variable:
                return _read_numbers(_find_field(array, field, order), order)
        raise _MalformedError(f"no variable {variable}")
    except (_MalformedError, zlib.error) as error:
        raise InputError(
            f"{where}: cannot read {variable}.{field} from it ({error}); expected a MATLAB file of version 5 "
            "to 7.2. Take the file from the archive again, or leave it out."
        ) from error


def _byte_order(encoded: bytes) -> str:
    mark = encoded[124:_HEADER_BYTES]
    if mark[2:] not in (b"IM", b"MI"):
        raise _MalformedError(f"no MATLAB header, {len(encoded)} bytes")
    order = "<" if mark[2:] == b"IM" else ">"
    version = struct.unpack(order + "H", mark[:2])[0]
    if version != 0x0100:
        raise _MalformedError("version 7.3 (HDF5)" if version == 0x0200 else f"version {version:#06x}")
    return order


def _elements(content: memoryview, order: str, *, is_top: bool = False) -> Iterator[_Element]:
    """Cut into elements: a tag of type and size, then a body padded to 8 bytes; or both in 8 bytes."""
    offset = 0
    while offset < len(content):
        if len(content) - offset < 8:
            raise _MalformedError("the file is cut off")
        word, size = struct.unpack_from(order + "II", content, offset)
        start = offset + 8
        if word >> 16:  # small: the size is in the upper half, the body in the second word
            word, size, start = word & 0xFFFF, word >> 16, offset + 4
        if start + size > len(content) or (start == offset + 4 and size > 4):
            raise _MalformedError("the file is cut off, or a size in it is wrong")
        yield _Element(word, content[start : start + size])
        is_padded = not (is_top and word == _COMPRESSED)
        offset = start + size + (-(start + size - offset) % 8 if is_padded else 0)


def _unpack(element: _Element, order: str) -> _Element:
    if element.type_code != _COMPRESSED:
        return element
    unpacker = zlib.decompressobj()
    content = unpacker.decompress(element.body, MAX_BYTES)
    if not unpacker.eof:
        raise _MalformedError(f"the file is cut off, or holds over {MAX_BYTES} bytes")
    return _next(_elements(memoryview(content), order))


def _read_array(element: _Element, order: str) -> _Array:
    if element.type_code != _MATRIX:
        raise _MalformedError(f"an element of type {element.type_code} where an array should be")
    content = _elements(element.body, order)
    flags = _integers(_next(content), order)
    shape = tuple(_integers(_next(content), order).tolist())
    name = bytes(_next(content).body).decode("latin-1")
    if not len(flags) or len(shape) < 2 or min(shape) < 0:
        raise _MalformedError("an array without a size")
    return _Array(int(flags[0]) & 0xFF, shape, name, content)


def _find_field(array: _Array, field: str, order: str) -> _Array:
    if array.class_code != _STRUCT or array.shape != (1, 1):
        raise _MalformedError(f"{array.name} is no structure")
    lengths, names = _integers(_next(array.content), order), bytes(_next(array.content).body)
    if len(lengths) != 1 or lengths[0] < 1:
        raise _MalformedError("a structure without names")
    length = int(lengths[0])
    for start in range(0, len(names), length):
        element = _next(array.content)
        if names[start : start + length].rstrip(b"\0") == field.encode():
            return _read_array(element, order)
    raise _MalformedError(f"{array.name} has no field {field}")


def _read_numbers(array: _Array, order: str) -> np.ndarray:
    if array.class_code not in _NUMERIC_CLASSES:
        raise _MalformedError("the field holds no numbers")
    values = _numbers(_next(array.content), order)
    if values.size != np.prod(array.shape, dtype=object):
        raise _MalformedError(f"{values.size} values for the shape {array.shape}")
    try:
        return values.reshape(array.shape, order="F")
    except ValueError as error:  # no values, but more or longer dimensions than NumPy takes
        raise _MalformedError(f"the shape {array.shape[:5]}") from error


def _numbers(element: _Element, order: str) -> np.ndarray:
    if element.type_code not in _NUMBERS:
        raise _MalformedError(f"an element of type {element.type_code} where numbers should be")
    dtype = np.dtype(order + _NUMBERS[element.type_code])
    if len(element.body) % dtype.itemsize:
        raise _MalformedError("a size in the file is wrong")
    return np.frombuffer(element.body, dtype)


def _integers(element: _Element, order: str) -> np.ndarray:
    numbers = _numbers(element, order)
    if numbers.dtype.kind not in "iu":
        raise _MalformedError(f"an element of type {element.type_code} where integers should be")
    return numbers


def _next(elements: Iterator[_Element]) -> _Element:
    element = next(elements, None)
    if element is None:
        raise _MalformedError("the file ends too early")
    return element
