import json
import os
import pathlib

import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.pretrain.torch_files import read_torch_file
from tests.pretrain.weight_files import write_safetensors

ARRAYS = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "half": np.array([0.5, -2, 65504], np.float16),
    "count": np.array(3, np.int64),
    "empty": np.zeros((0, 4), np.float32),
}


def test_safetensors_come_back_and_halves_as_float32(tmp_path):
    found = read_torch_file(write_safetensors(tmp_path / "w.safetensors", ARRAYS))
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
    assert found["half"].dtype == np.float32


def test_bfloat16_is_the_upper_half_of_float32(tmp_path):
    exact = np.array([1.0, -0.15625, 3e38], np.float32)
    exact = (exact.view(np.uint32) & 0xFFFF0000).view(np.float32)
    raw = (exact.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    header = json.dumps({"w": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]}}).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + raw)
    np.testing.assert_array_equal(read_torch_file(path)["w"], exact)


def test_files_of_the_safetensors_package_are_read(tmp_path):
    numpy_files = pytest.importorskip("safetensors.numpy", reason="needs the package safetensors")
    path = tmp_path / "w.safetensors"
    numpy_files.save_file(ARRAYS, path, metadata={"format": "np"})
    found = read_torch_file(path)
    assert set(found) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)


def entry(shape, offsets, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (entry([4], [0, 12]), "takes 16 bytes"),
        (entry([3], [0, 16]), "takes 12 bytes"),
        (entry([3], [8, 20]), "should begin at 0"),
        (entry([2**40], [0, 2**42]), "wrong about"),
        (entry([1], [0, 4]), "4 bytes, but 12 follow"),
        (entry([3], [12, 0]), "wrong about"),
        (entry([-3], [0, -12]), "-3"),
        (entry([3.0], [0, 12]), "3.0"),
        (entry([True] * 3, [0, 12]), "True"),
        (entry([3], [0, 12], "F33"), "'F33'"),
        (entry([3], [0]), "safetensors header"),
        (entry(3, [0, 12]), "safetensors header"),
        ([], "safetensors header"),
        ({"dtype": "F32"}, "shape"),
        (entry([3], [0, 12], ["F32"]), "safetensors header"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, row, words):
    path = write_safetensors(tmp_path / "w.safetensors", {"w": np.zeros(3, np.float32)}, w=row)
    with pytest.raises(InputError, match=words):
        read_torch_file(path)


def test_overlapping_arrays_are_refused(tmp_path):
    arrays = {"a": np.zeros(3, np.float32), "b": np.zeros(3, np.float32)}
    path = write_safetensors(tmp_path / "w.safetensors", arrays, b=entry([3], [0, 12]))
    with pytest.raises(InputError, match="wrong about 'b'"):
        read_torch_file(path)


def test_an_array_named_twice_is_refused(tmp_path):
    row = json.dumps(entry([1], [0, 4]))
    header = f'{{"a": {row}, "a": {row}}}'.encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(InputError, match="'a' occurs twice"):
        read_torch_file(path)


def test_damaged_files_never_give_another_error(tmp_path):
    path = write_safetensors(tmp_path / "w.safetensors", ARRAYS)
    whole, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.integers(8 + 300)] = rng.integers(256)
        path.write_bytes(damaged[: rng.integers(len(whole) + 1)] if rng.random() < 0.3 else damaged)
        try:
            read_torch_file(path)
        except InputError:
            refused += 1
    assert refused > 100


def test_absent_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_torch_file(tmp_path / "w.pth")
    (tmp_path / "w.h5").write_bytes(b"x")
    with pytest.raises(InputError, match=r"not in '\.h5'"):
        read_torch_file(tmp_path / "w.h5")


class TouchesAFile:
    def __init__(self, path: pathlib.Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_code_in_a_pickle_is_refused_and_not_run(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"state_dict": TouchesAFile(tmp_path / "ran")}, tmp_path / "w.pth")
    torch.save(
        {"w": torch.zeros(1), "x": TouchesAFile(tmp_path / "ran")}, tmp_path / "w.bin", pickle_protocol=2
    )
    for name in ("w.pth", "w.bin"):
        with pytest.raises(InputError, match=r"could run code.*\.safetensors"):
            read_torch_file(tmp_path / name)
    assert not (tmp_path / "ran").exists()
    torch.load(tmp_path / "w.pth", weights_only=False)  # the file is harmful indeed
    assert (tmp_path / "ran").exists()


def test_state_dicts_come_out_of_their_wrappers(tmp_path):
    torch = pytest.importorskip("torch")
    weights = {"module.a": torch.arange(3.0), "module.b": torch.ones(2, dtype=torch.bfloat16)}
    for wrapped in (weights, {"state_dict": weights, "epoch": 3}, {"model": weights}):
        torch.save(wrapped, tmp_path / "w.pt")
        found = read_torch_file(tmp_path / "w.pt")
        np.testing.assert_array_equal(found["a"], [0, 1, 2])
        assert found["b"].dtype == np.float32
        assert set(found) == {"a", "b"}


def test_other_torch_files_are_refused(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "w.pth"
    for content, words in (([1, 2], "has a list"), ({"a": 1}, "'a' is a int"), ({}, "has a dict")):
        torch.save(content, path)
        with pytest.raises(InputError, match=words):
            read_torch_file(path)
    torch.save({"a": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"not a whole file|damaged"):
        read_torch_file(path)
    path.write_bytes(b"")
    with pytest.raises(InputError):
        read_torch_file(path)


def test_tensors_that_are_no_plain_arrays_are_refused(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "a.pth"
    for tensor in (torch.eye(3).to_sparse(), torch.empty(3, device="meta")):
        torch.save({"a": tensor}, path)
        with pytest.raises(InputError, match=r"a\.pth has a tensor that is no plain array"):
            read_torch_file(path)
