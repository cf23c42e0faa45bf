import io
import struct
import zlib

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from selftrain_jax.data.sources import mat_file
from selftrain_jax.data.sources.mat_file import read_struct_field
from selftrain_jax.errors import InputError

VALUES = np.arange(15, dtype=np.uint8).reshape(3, 5)


def encode(content: dict, *, compressed: bool = True) -> bytes:
    file = io.BytesIO()
    savemat(file, content, do_compression=compressed)
    return file.getvalue()


def read(encoded: bytes) -> np.ndarray:
    return read_struct_field(encoded, "G", "S", "a.mat")


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
def test_numbers_of_every_type_are_those_that_scipy_wrote(dtype: str, compressed: bool) -> None:
    values = VALUES.astype(dtype)
    others = {"A": "text", "B": [1, "x"], "name_of_many_letters": {"S": 3}}
    encoded = encode({"before": others, "G": {**others, "S": values}}, compressed=compressed)
    found = read(encoded)
    assert np.array_equal(found, values)
    assert found.dtype.kind == values.dtype.kind
    assert np.array_equal(found, loadmat(io.BytesIO(encoded))["G"]["S"][0, 0])


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (4, 1), (0, 0), (2, 3, 4)])
def test_every_shape_keeps_its_order(shape: tuple[int, ...]) -> None:
    values = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)
    assert np.array_equal(read(encode({"G": {"S": values}})), values)


def big_endian(values: np.ndarray) -> bytes:
    """A file as a big-endian machine writes it, by hand from the format's description."""

    def element(kind: int, body: bytes) -> bytes:
        return struct.pack(">II", kind, len(body)) + body + bytes(-len(body) % 8)

    def array(kind: int, shape: tuple[int, ...], name: bytes, body: bytes) -> bytes:
        head = element(6, struct.pack(">II", kind, 0)) + element(5, struct.pack(f">{len(shape)}i", *shape))
        return element(14, head + element(1, name) + body)

    numbers = array(6, values.shape, b"", element(9, values.astype(">f8").tobytes("F")))
    fields = struct.pack(">HHi", 4, 5, 2) + element(1, b"S\0")  # the names' length is a small element
    return b"MATLAB".ljust(124) + b"\1\0MI" + array(2, (1, 1), b"G", fields + numbers)


def test_big_endian_files_and_small_elements_are_read() -> None:
    encoded = big_endian(VALUES)
    assert np.array_equal(loadmat(io.BytesIO(encoded))["G"]["S"][0, 0], VALUES)
    assert np.array_equal(read(encoded), VALUES)


@pytest.mark.parametrize(
    ("encoded", "match"),
    [
        (b"", "no MATLAB header, 0 bytes"),
        (b"x" * 200, "no MATLAB header, 200 bytes"),
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM" + bytes(400), r"version 7.3 \(HDF5\)"),
        (encode({"other": 1}), "no variable G"),
        (encode({"G": 3}), "G is no structure"),
        (encode({"G": np.array([{"S": 1}, {"S": 2}])}), "G is no structure"),
        (encode({"G": {"T": VALUES}}), "G has no field S"),
        (encode({"G": {"S": "text"}}), "the field holds no numbers"),
        (encode({"G": {"S": {"deep": 1}}}), "the field holds no numbers"),
    ],
)
def test_other_files_are_refused_with_what_was_found(encoded: bytes, match: str) -> None:
    with pytest.raises(InputError, match=rf"a\.mat: cannot read G\.S from it .*{match}"):
        read(encoded)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3.0])
def test_flags_dimensions_and_lengths_are_integers(value: float) -> None:
    encoded = encode({"G": {"S": VALUES}}, compressed=False)
    length = encoded.index(struct.pack("<HH", 5, 4), 168)  # of the fields' names, a small element
    for place, kind, body, as_written in (
        (136, 9, struct.pack("<Id", 8, value), (6, 8)),  # flags: two integers become one number
        (152, 7, struct.pack("<Iff", 8, value, value), (5, 8)),  # rows and columns
        (length, 7 | 4 << 16, struct.pack("<f", value), (5 | 4 << 16,)),
    ):
        tag = struct.pack(f"<{len(as_written)}I", *as_written)
        assert encoded[place : place + len(tag)] == tag
        damaged = encoded[:place] + struct.pack("<I", kind) + body + encoded[place + 4 + len(body) :]
        with pytest.raises(InputError, match=r"an element of type [79] where integers should be"):
            read(damaged)


@pytest.mark.parametrize("compressed", [True, False])
def test_file_cut_off_anywhere_is_refused(compressed: bool) -> None:
    encoded = encode({"G": {"B": VALUES, "S": VALUES}}, compressed=compressed)
    for length in range(len(encoded) - 8):
        with pytest.raises(InputError, match=r"cut off|ends too early|no MATLAB header|no variable"):
            read(encoded[:length])


def test_damaged_bytes_give_an_error_or_an_array_and_never_a_crash() -> None:
    """SciPy's reader ends the process on some of these."""
    encoded, rng = encode({"G": {"B": VALUES, "S": VALUES}}, compressed=False), np.random.default_rng(0)
    refused = 0
    for _ in range(2000):
        damaged = bytearray(encoded)
        for place in rng.integers(124, len(encoded), rng.integers(1, 4)):
            damaged[place] = rng.integers(256)
        try:
            assert isinstance(read(bytes(damaged)), np.ndarray)
        except InputError:
            refused += 1
    assert 200 < refused < 2000


def test_a_small_file_cannot_unpack_to_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mat_file, "MAX_BYTES", 10_000)
    encoded = encode({"G": {"S": np.zeros((200, 200), np.uint8)}})
    assert len(encoded) < 1000
    with pytest.raises(InputError, match="holds over 10000 bytes"):
        read(encoded)


def test_damage_in_a_compressed_part_is_found_by_its_checksum() -> None:
    encoded = encode({"G": {"S": VALUES}})
    part = bytearray(zlib.decompress(encoded[136:]))
    part[-8] ^= 1
    forged = encoded[:136] + zlib.compress(bytes(part))[:-4] + encoded[-4:]
    with pytest.raises(InputError, match=r"cannot read G\.S"):
        read(forged[:132] + struct.pack("<I", len(forged) - 136) + forged[136:])
