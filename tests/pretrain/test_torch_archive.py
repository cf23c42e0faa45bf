"""Files of torch.save read without torch: equal to torch's own reading, and what is refused."""

import collections
import io
import pathlib
import struct
import sys
import zipfile

import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.pretrain.tensor_pickle import DamagedError, RefusedError, read_pickle
from selftrain_jax.pretrain.torch_files import read_torch_file


def save(torch, content, path: pathlib.Path, is_zip: bool) -> pathlib.Path:
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    return path


def make_weights(torch) -> dict:
    """Every kind of number, views of one storage, a scalar, nothing at all, a parameter."""
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(4, 6, generator=generator)
    kinds = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
    weights = {kind: (10 * base).to(getattr(torch, kind)) for kind in kinds}
    weights |= {"base": base, "turned": base.t(), "part": base[1:3, 2:], "column": base[:, 3]}
    weights |= {"scalar": torch.tensor(3.5), "empty": torch.zeros(0, 4)}
    weights["parameter"] = torch.nn.Parameter(base[2].clone())
    return weights


@pytest.mark.parametrize("is_zip", [True, False])
def test_all_kinds_of_tensors_are_read_as_torch_reads_them(tmp_path, is_zip):
    torch = pytest.importorskip("torch")
    path = save(torch, make_weights(torch), tmp_path / "w.pth", is_zip)
    found, expected = read_torch_file(path), torch.load(path, weights_only=True)
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        half = tensor.dtype in (torch.bfloat16, torch.float16)
        wanted = (tensor.float() if half else tensor).detach().numpy()
        assert found[name].dtype == wanted.dtype
        np.testing.assert_array_equal(found[name], wanted)


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_modules_state_dict_with_its_metadata_is_read(tmp_path, is_zip):
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    wrapped = {"epoch": 3, "loss": 0.5, "names": ["a", "b"], "state_dict": module.state_dict()}
    found = read_torch_file(save(torch, wrapped, tmp_path / "w.pth", is_zip))
    assert isinstance(module.state_dict(), collections.OrderedDict)
    for name, tensor in module.state_dict().items():
        np.testing.assert_array_equal(found[name], tensor.numpy())


def test_torch_is_not_needed(tmp_path, monkeypatch):
    path = tmp_path / "w.pth"
    path.write_bytes(
        write_zip(state_of(b"w", shape=(2, 2), stride=(2, 1)), np.arange(4, dtype="<f4").tobytes())
    )
    monkeypatch.setitem(sys.modules, "torch", None)
    np.testing.assert_array_equal(read_torch_file(path)["w"], [[0, 1], [2, 3]])


def text(value: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value


def numbers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(b"J" + struct.pack("<i", value) for value in values) + b"t"


def state_of(name: bytes, shape=(4,), stride=(1,), offset=0, num=4, kind=b"FloatStorage") -> bytes:
    """The program of a state dict with one tensor, as torch writes it."""
    storage = (
        b"(" + text(b"storage") + b"ctorch\n" + kind + b"\n" + text(b"0") + text(b"cpu") + numbers((num,))
    )
    storage = storage[: -len(numbers((num,)))] + b"J" + struct.pack("<i", num) + b"tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"J" + struct.pack("<i", offset)
    tensor += numbers(shape) + numbers(stride) + b"\x89ccollections\nOrderedDict\n)RtR"
    return b"\x80\x02}" + text(name) + tensor + b"s."


def write_zip(program: bytes, raw: bytes, *, order: bytes = b"little", kind=zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        archive.writestr("w/data.pkl", program)
        archive.writestr("w/byteorder", order)
        archive.writestr("w/data/0", raw)
    return file.getvalue()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shape": (5,)}, "beyond its 4 numbers"),
        ({"offset": 1}, "beyond its 4 numbers"),
        ({"stride": (2,)}, "beyond its 4 numbers"),
        ({"shape": (1000000000,), "stride": (0,)}, "no plain array: a tensor of shape .* repeats 4 numbers"),
        ({"shape": (-4,)}, "not whole numbers from 0"),
        ({"stride": (1, 1)}, "1 dimensions and 2 strides"),
        ({"num": 5}, "16 bytes that should have 5 numbers"),
        ({"kind": b"ComplexFloatStorage"}, "no plain array: numbers of torch.ComplexFloatStorage"),
    ],
)
def test_a_tensor_that_does_not_fit_its_storage_is_refused(tmp_path, changes, words):
    path = tmp_path / "w.pth"
    path.write_bytes(write_zip(state_of(b"w", **changes), bytes(16)))
    with pytest.raises(InputError, match=words):
        read_torch_file(path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"order": b"big"}, "another byte order"),
        ({"kind": zipfile.ZIP_DEFLATED}, "is compressed, as torch.save does not"),
    ],
)
def test_archives_that_torch_does_not_write_are_refused(tmp_path, options, words):
    path = tmp_path / "w.pth"
    path.write_bytes(write_zip(state_of(b"w"), bytes(16), **options))
    with pytest.raises(InputError, match=words):
        read_torch_file(path)


@pytest.mark.parametrize(
    ("program", "name"),
    [
        (b"cos\nsystem\n" + text(b"echo") + b"\x85R.", "os.system"),
        (b"cbuiltins\neval\n" + text(b"1") + b"\x85R.", "builtins.eval"),
        (b"\x80\x04" + b"\x8c\x02os\x8c\x06system\x93" + text(b"echo") + b"\x85R.", "os.system"),
        (b"ccollections\nCounter\n)R.", "collections.Counter"),
        (b"ctorch\nload\n)R.", "torch.load"),
        (b"]}b.", "attributes of a list"),
    ],
)
def test_what_a_program_asks_for_beyond_tensors_is_named_and_not_done(program, name):
    with pytest.raises(RefusedError) as refused:
        read_pickle(program)
    assert refused.value.name == name


@pytest.mark.parametrize(
    "program",
    [
        *(b"", b".", b"}", b"t.", b"(", b"s.", b"h\x07.", b"J\x00.", b"X\xff\xff\xff\xff.", b"cos\nsystem"),
        *(b"i", b"}]K\x01s.", b"})Ns.", b"K\x01K\x02a.", b"K\x01Q.", b"K\x01)R.", b"\x87."),
        b"X\x01\x00\x00\x00\xff.",  # no text
        b"T\xfb\xff\xff\xff.",  # a length that leads back
    ],
)
def test_what_is_no_such_program_is_refused(program):
    with pytest.raises(DamagedError):
        read_pickle(program)


def test_names_are_made_into_nothing():
    found, end = read_pickle(b"cos\nsystem\n.rest")
    assert (found.text, end) == ("os.system", len(b"cos\nsystem\n."))


def test_nested_containers_cost_no_more_than_they_take(tmp_path):
    """A list of twice the list before, 100 times over: hashing, printing or walking it would never end."""
    doubled = b"(K\x01t" + b"".join(b"q\x00h\x00\x86" for _ in range(100))
    path = tmp_path / "w.pth"
    for program, words in (
        (b"}" + doubled + b"Ns.", "neither text nor a number"),
        (doubled + b"Q.", "a tuple in place of a storage"),
        (b"}" + text(b"w") + doubled + b"s.", "'w' is a tuple"),
    ):
        path.write_bytes(write_zip(program, b""))
        with pytest.raises(InputError, match=words):
            read_torch_file(path)


def test_many_tensors_of_one_storage_are_refused_before_they_are_made(tmp_path):
    one = state_of(b"w")[len(b"\x80\x02}") : -1]
    many = (
        b"\x80\x02}" + b"".join(one.replace(text(b"w"), text(b"%d" % number)) for number in range(99)) + b"."
    )
    path = tmp_path / "w.pth"
    path.write_bytes(write_zip(many, bytes(16)))
    with pytest.raises(InputError, match="would take 1584 bytes, many times what the file has"):
        read_torch_file(path)


@pytest.mark.parametrize("is_zip", [True, False])
def test_damaged_archives_never_give_another_error(tmp_path, is_zip):
    torch = pytest.importorskip("torch")
    path = save(torch, make_weights(torch), tmp_path / "w.pth", is_zip)
    whole, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] = rng.integers(256)
        path.write_bytes(damaged[: rng.integers(len(whole))] if rng.random() < 0.3 else damaged)
        try:
            read_torch_file(path)
        except InputError:
            refused += 1
    assert refused > 100
