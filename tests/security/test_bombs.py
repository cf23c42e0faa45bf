"""Small files that ask for endless memory or time are refused at once."""

import io
import json
import pathlib
import struct
import zlib
from collections.abc import Callable
from typing import Any

import google_crc32c
import numpy as np
import pytest
from PIL import Image

from selftrain_jax.data.shards import index_shard, read_record
from selftrain_jax.data.source import decode_image, image_size
from selftrain_jax.data.sources import mat_file
from selftrain_jax.data.sources.coco import find_problems
from selftrain_jax.data.sources.mat_file import read_struct_field
from selftrain_jax.data.sources.png_masks import decode_mask
from selftrain_jax.data.sources.voc_boxes import read_voc
from selftrain_jax.data.sources.xml_tree import parse_xml
from selftrain_jax.errors import InputError
from selftrain_jax.io import MAX_DEPTH, parse_json, parse_shallow_json, read_json
from selftrain_jax.pretrain.golden import read_golden
from selftrain_jax.pretrain.torch_files import read_safetensors
from selftrain_jax.run_files.metrics import read_metrics
from tests.faults.fuzz_parsers import outcome

DIGITS = "9" * 5000  # more than Python turns into an integer


def refused(parse: Callable[[Any], Any], data: Any) -> bool:
    """Tell whether an InputError came, in time and without taking much memory."""
    found, _ = outcome(parse, data)
    assert found in ("accepted", "rejected"), found
    return found == "rejected"


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(*sizes_px: tuple[int, int], pixels: bytes = b"", colour: int = 0) -> bytes:
    """A PNG of 8 bits with a header for every size."""
    heads = [
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0))
        for height, width in sizes_px
    ]
    return (
        b"\x89PNG\r\n\x1a\n" + b"".join(heads) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    )


def jpeg(height: int, width: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "JPEG")
    data = bytearray(buffer.getvalue())
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    "encoded",
    [
        png((65_000, 65_000), colour=2), png((2**31 - 1, 2**31 - 1)), png((8193, 8192)), png((1, 2**27)),
        png((2, 2), (20_000, 20_000)), png((9000, 9000), pixels=bytes(9001 * 9000)), jpeg(65_500, 65_500),
    ],
    ids=["wide", "widest", "one row more", "a line", "second header", "packed", "jpeg"],
)  # fmt: skip
def test_images_of_endless_size_are_refused_by_their_header(encoded: bytes) -> None:
    assert len(encoded) < 200_000
    for parse in (
        lambda data: decode_image(data, "a"),
        lambda data: image_size(data, "a"),
        lambda data: decode_mask(data, "a"),
    ):
        assert refused(parse, encoded)


def test_a_mask_with_a_second_header_is_damaged() -> None:
    sound = png((2, 2), pixels=bytes(6))
    assert decode_mask(sound, "a").mask.shape == (2, 2)
    for second in ((20_000, 20_000), (9000, 9000)):
        with pytest.raises(InputError, match="damaged"):
            decode_mask(png((2, 2), second, pixels=bytes(6)), "a")


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
XML = {
    "billion laughs": f'<!DOCTYPE a [<!ENTITY l0 "ha">{LAUGHS}]><a>&l9;</a>',
    "quadratic": f'<!DOCTYPE a [<!ENTITY l "{"h" * 10_000}">]><a>{"&l;" * 10_000}</a>',
    "external": '<!DOCTYPE a [<!ENTITY l SYSTEM "file:///etc/passwd">]><a>&l;</a>',
    "parameter": '<!DOCTYPE a [<!ENTITY % l SYSTEM "file:///etc/passwd">%l;]><a/>',
    "unknown encoding": '<?xml version="1.0" encoding="none-such"?><a/>',
    "a codec that is none": '<?xml version="1.0" encoding="zlib"?><a/>',
    "many bytes a letter": '<?xml version="1.0" encoding="shift_jis"?><a/>',
    "never closed": "<a>" * 20_000,
}


@pytest.mark.parametrize("text", XML.values(), ids=XML.keys())
def test_xml_that_expands_or_reads_other_files_is_refused(tmp_path: pathlib.Path, text: str) -> None:
    (tmp_path / "a.xml").write_text(text)
    assert refused(parse_xml, tmp_path / "a.xml")


def test_xml_of_many_pieces_and_levels_takes_little_time(tmp_path: pathlib.Path) -> None:
    """Adding up 15,000 pieces to a text of 6 MB one by one would move 45 GB."""
    path = tmp_path / "a.xml"
    path.write_text(f"<a>{('text' * 100 + '<b/>') * 15_000}</a>")
    assert not refused(
        lambda path: len(parse_xml(path).text) == 6_000_000 or pytest.fail("text was lost"), path
    )
    path.write_text("<a>" * 20_000 + "</a>" * 20_000)
    assert not refused(parse_xml, path)


SIZES = [(DIGITS, "20"), ("30", DIGITS), ("1" + "0" * 400, "20"), ("100000", "100000"), ("٩" * 30, "20")]


@pytest.mark.parametrize(
    ("width", "height"), SIZES, ids=["digits", "digits too", "no float", "pixels", "not ASCII"]
)
def test_endless_numbers_in_xml_are_refused(tmp_path: pathlib.Path, width: str, height: str) -> None:
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "ImageSets/Main/train.txt").write_text("a")
    Image.new("RGB", (30, 20)).save(tmp_path / "JPEGImages/a.png")
    size = f"<size><width>{width}</width><height>{height}</height></size>"
    (tmp_path / "Annotations/a.xml").write_text(f"<annotation><filename>a.png</filename>{size}</annotation>")
    with pytest.raises(InputError, match=r"a\.png: <size> is .* pixels .*expected at most"):
        read_voc(tmp_path, "train", ["cat"])


JSON = {
    "deep lists": "[" * 100_000, "closed lists": "[" * 3000 + "]" * 3000, "deep objects": '{"a":' * 100_000,
    "digits": DIGITS, "not text": "\ud800", "cut off": '{"a": ', "nothing": "", "two": "{}{}",
}  # fmt: skip


@pytest.mark.parametrize("text", JSON.values(), ids=JSON.keys())
def test_json_beyond_pythons_limits_is_refused(tmp_path: pathlib.Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert refused(lambda path: parse_json(path.read_bytes(), "a"), path)
    assert refused(lambda path: read_json(path, "make it again"), path)
    assert refused(read_golden, path)
    problems = list(find_problems(path, tmp_path))
    assert [problem.kind for problem in problems] == ["malformed"]


@pytest.mark.parametrize(
    "change",
    [
        '"shape": [Infinity]', '"mean": 1' + "0" * 400, '"idx": [1e999]', '"shape": [3000000000]',
        '"vals": {}',
        f'"shape": [{", ".join(["2000000000"] * 2000)}]', '"shape": ' + "[" * 900 + "]" * 900, '"std": null',
    ],
)  # fmt: skip
def test_golden_outputs_of_impossible_numbers_are_refused(tmp_path: pathlib.Path, change: str) -> None:
    sound = '"shape": [2], "mean": 0, "std": 1, "absmax": 1, "idx": [0], "vals": [1]'
    path = tmp_path / "a.json"
    path.write_text("{" + f'"logits": {{{sound}}}' + "}")
    assert not refused(read_golden, path)
    path.write_text("{" + f'"logits": {{{sound}, {change}}}' + "}")
    assert refused(read_golden, path)


def test_json_is_as_deep_as_allowed_and_no_deeper() -> None:
    nested = [json.dumps("x").join(("[" * depth, "]" * depth)) for depth in (MAX_DEPTH, MAX_DEPTH + 1, 500)]
    assert not refused(lambda text: parse_shallow_json(text, "a", "b"), nested[0])
    assert refused(lambda text: parse_shallow_json(text, "a", "b"), nested[1])
    assert refused(
        lambda text: parse_shallow_json(text, "a", "b"), nested[2].replace("[", '{"a":').replace("]", "}")
    )


def test_of_a_key_that_stands_twice_the_last_counts_and_nan_is_a_number() -> None:
    assert parse_json('{"a": 1, "a": 2}', "a") == {"a": 2}
    found = parse_json("[NaN, -Infinity, 1e999]", "a")
    assert [str(value) for value in found] == ["nan", "-inf", "inf"]


@pytest.mark.parametrize(
    "record", ['{"step": Infinity}', '{"step": 1' + "0" * 5000 + "}", '{"step": ' + "[" * 5000]
)
def test_a_log_line_beyond_limits_is_named(tmp_path: pathlib.Path, record: str) -> None:
    (tmp_path / "metrics.jsonl").write_text(f"{record}\n")
    with pytest.raises(InputError, match="line 1"):
        read_metrics(tmp_path / "metrics.jsonl")


def test_values_nested_to_the_limit_are_shown_in_short(tmp_path: pathlib.Path) -> None:
    """Python parses some hundred levels more than it can print."""
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 30, "height": 20}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "area": 5}],
    }
    text = json.dumps(content)
    for old in ("5}", "4]", '"cat"'):
        for depth in range(880, 1000, 3):
            (tmp_path / "labels.json").write_text(
                text.replace(old, "[" * depth + "]" * depth + old[-1:].strip('"'))
            )
            for problem in find_problems(tmp_path / "labels.json", tmp_path):
                assert len(problem.message) < 500


@pytest.mark.parametrize("length", [2**31, 2**60, 2**63 - 1, 2**63, 2**64 - 16, 2**64 - 1])
def test_a_record_that_says_it_is_endless_is_cut_off(tmp_path: pathlib.Path, length: int) -> None:
    head = struct.pack("<Q", length)
    crc = google_crc32c.value(head)
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    path = tmp_path / "a.tfrecord"
    path.write_bytes(head + struct.pack("<I", masked) + bytes(100))
    assert refused(index_shard, path)
    assert refused(lambda path: read_record(path, 0), path)
    assert refused(lambda path: read_record(path, 10**6), path)


def mat(content: bytes) -> bytes:
    packed = zlib.compress(content, 9)
    return b"MATLAB".ljust(124) + b"\0\1IM" + struct.pack("<II", 15, len(packed)) + packed


def test_a_mat_file_that_unpacks_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mat_file.MAX_BYTES <= 2**27
    monkeypatch.setattr(mat_file, "MAX_BYTES", 2**16)
    bomb = mat(struct.pack("<II", 14, 2**31) + bytes(2**20))
    with pytest.raises(InputError, match="holds over 65536 bytes"):
        read_struct_field(bomb, "GTcls", "Segmentation", "a")


@pytest.mark.parametrize("shape", [(0, 2**31 - 1, 2**31 - 1, 2**31 - 1), (0,) * 70, (1,) * 70])
def test_a_mat_array_of_impossible_shape_is_refused(shape: tuple[int, ...]) -> None:
    def element(kind: int, body: bytes) -> bytes:
        return struct.pack("<II", kind, len(body)) + body + bytes(-len(body) % 8)

    def array(kind: int, shape: tuple[int, ...], name: bytes, body: bytes) -> bytes:
        head = element(6, struct.pack("<II", kind, 0)) + element(5, struct.pack(f"<{len(shape)}i", *shape))
        return element(14, head + element(1, name) + body)

    numbers = array(9, shape, b"", element(2, bytes(int(np.prod(shape, dtype=object)))))
    fields = element(5, struct.pack("<i", 2)) + element(1, b"S\0")
    data = b"MATLAB".ljust(124) + b"\0\1IM" + array(2, (1, 1), b"G", fields + numbers)
    assert refused(lambda data: read_struct_field(data, "G", "S", "a"), data)


def safetensors(tmp_path: pathlib.Path, header: str | dict[str, Any], data: bytes = b"") -> pathlib.Path:
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    (tmp_path / "a.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
    return tmp_path / "a.safetensors"


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [10**4000, 10**4000], "data_offsets": [0, 0]},
        {"dtype": "F32", "shape": [0, 2**62, 2**62], "data_offsets": [0, 0]},
        {"dtype": "F32", "shape": [0] * 200, "data_offsets": [0, 0]},
        {"dtype": "F32", "shape": [2] * 200_000, "data_offsets": [0, 0]},
        {"dtype": "F32", "shape": [0], "data_offsets": [0, 2**60]},
        {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]},
        {"dtype": ["F32"], "shape": [0], "data_offsets": [0, 0]},
    ],
    ids=["digits", "overflow", "dimensions", "product", "end", "truth", "list"],
)
def test_headers_of_weights_that_lie_are_refused(tmp_path: pathlib.Path, entry: dict[str, Any]) -> None:
    assert refused(read_safetensors, safetensors(tmp_path, {"a": entry}))


def test_a_header_with_one_key_twice_among_many_is_refused_in_time(tmp_path: pathlib.Path) -> None:
    entry = '{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    names = [*map(str, range(20_000)), "0"]
    header = "{" + ",".join(f'"{name}":{entry}' for name in names) + "}"
    assert refused(read_safetensors, safetensors(tmp_path, header))
