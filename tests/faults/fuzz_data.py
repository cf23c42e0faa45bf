"""Readers of data sets under fuzzing: seeds that the library itself makes, and how an input is read.

Slow packages are imported by those who need them.
"""

import io
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from selftrain_jax.data.source import Source, encode_png
from selftrain_jax.errors import InputError
from selftrain_jax.types import Category
from tests.faults import mutations
from tests.faults.mutations import Mutate

CATEGORIES = (Category(1, "cat"), Category(3, "stop sign"))


class Parser(NamedTuple):
    """Valid inputs, how they are changed, and the function that accepts or refuses one."""

    seeds: Sequence[bytes]
    mutate: Mutate
    parse: Callable[[bytes], Any]


def of_file(path: pathlib.Path, read: Callable[[pathlib.Path], Any]) -> Callable[[bytes], None]:
    """Make a reader of a file a parser of its bytes."""

    def parse(data: bytes) -> None:
        path.write_bytes(data)
        read(path)

    return parse


def coco_json(folder: pathlib.Path) -> Parser:
    from selftrain_jax.data.sources.coco import find_problems, read_coco_json
    from selftrain_jax.tasks.detection.coco_export import write_coco_json

    path = folder / "labels.json"
    write_coco_json(_boxes_source(folder / "images"), path)
    seeds = [path.read_bytes(), path.read_bytes().replace(b'"width"', b'"breadth"')]

    def parse(data: bytes) -> None:
        path.write_bytes(data)
        list(find_problems(path, folder / "images"))
        _read_all(read_coco_json(path, folder / "images"))

    return Parser(seeds, mutations.json_changed, parse)


def voc_xml(folder: pathlib.Path) -> Parser:
    from selftrain_jax.data.sources.voc_boxes import find_problems, read_voc

    _boxes_source(folder / "JPEGImages")
    path = _voc_list(folder, b"0\n")
    corners = "<bndbox><xmin>3</xmin><ymin>2</ymin><xmax>9.5</xmax><ymax>8</ymax></bndbox>"
    item = f"<object><name>cat</name><difficult>0</difficult>{corners}</object>"
    size = "<size><width>30</width><height>20</height><depth>3</depth></size>"
    name = "<folder>VOC</folder><filename>0.png</filename>"
    seeds = [f"<annotation>{name}{size}{item * 2}</annotation>", f"<annotation>{name}{item}</annotation>"]

    def parse(data: bytes) -> None:
        (path / "0.xml").write_bytes(data)
        list(find_problems(folder, "train"))
        _read_all(read_voc(folder, "train"))

    return Parser([seed.encode() for seed in seeds], mutations.xml_changed, parse)


def voc_list(folder: pathlib.Path) -> Parser:
    from selftrain_jax.data.sources.voc_boxes import read_voc

    _boxes_source(folder / "JPEGImages")
    path = _voc_list(folder, b"0\n1\n")
    for number in range(2):
        (path / f"{number}.xml").write_text(f"<annotation><filename>{number}.png</filename></annotation>")

    def parse(data: bytes) -> None:
        _voc_list(folder, data)
        _read_all(read_voc(folder, "train", ["cat"]))

    return Parser([b"0\n1\n", b"1\r\n"], mutations.text_changed, parse)


def tfrecord_file(folder: pathlib.Path) -> Parser:
    from selftrain_jax.data.shards import index_shard, read_record, write_shard

    path = folder / "a.tfrecord"
    write_shard(path, [b"first", b"", bytes(range(256))])

    def parse(data: bytes) -> None:
        path.write_bytes(data)
        for place in range(0, min(len(data), 64), 16):  # as a file does that changes after it was indexed
            _refused(lambda place=place: read_record(path, place))
        for offset in index_shard(path).tolist():
            read_record(path, offset)

    return Parser([path.read_bytes()], mutations.frames_changed, parse)


def record(folder: pathlib.Path) -> Parser:
    import tensorflow as tf

    from selftrain_jax.data.records import decode_record, encode_record

    source = _boxes_source(folder / "images")
    mask = {
        "mask": np.ones((20, 30), np.uint8),
        "confidence": np.full((20, 30), 9, np.uint8),
        "is_pseudo": True,
    }
    boxes = {**source.read_labels(0), "scores": np.array([0.5], np.float32)}
    seeds = [encode_record(labels, b"jpeg", 20, 30) for labels in (boxes, {"image_id": "0", **mask})]

    def change(rng: np.random.Generator, seeds: Sequence[bytes]) -> bytes:
        if rng.random() < 0.4:
            return mutations.bytes_changed(rng, seeds)
        example = tf.train.Example.FromString(seeds[rng.integers(len(seeds))])
        keys = sorted(example.features.feature)
        feature = example.features.feature[keys[rng.integers(len(keys))]]
        count = int(rng.integers(0, 4))
        numbers = (-(2**63), -1, 0, 2**31, 2**63 - 1)
        match rng.integers(4):
            case 0:
                feature.int64_list.value[:] = [numbers[rng.integers(5)] for _ in range(count)]
            case 1:
                feature.float_list.value[:] = [
                    (np.nan, np.inf, -1e38, 0)[rng.integers(4)] for _ in range(count)
                ]
            case 2:
                old = list(feature.bytes_list.value) or [b"\xff\xfe"]
                feature.bytes_list.value[:] = [mutations.chunks_changed(rng, old) for _ in range(count)]
            case _:
                example.features.feature.pop(keys[rng.integers(len(keys))])
        return example.SerializeToString()

    return Parser(seeds, change, decode_record)


def image(folder: pathlib.Path) -> Parser:
    from selftrain_jax.data.source import decode_image, image_size

    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    seeds = [_encode(Image.fromarray(pixels), kind) for kind in ("PNG", "JPEG", "BMP", "WEBP")]

    def parse(data: bytes) -> None:
        height, width = image_size(data, "a")
        assert decode_image(data, "a").shape == (height, width, 3)

    return Parser(seeds, mutations.chunks_changed, parse)


def mask_png(folder: pathlib.Path) -> Parser:
    from selftrain_jax.data.sources.png_masks import check_mask, check_palette, decode_mask
    from selftrain_jax.data.sources.voc_masks import voc_palette
    from selftrain_jax.tasks.segmentation.draw import save_mask_png

    mask = (np.arange(600).reshape(20, 30) % 3).astype(np.uint8)
    save_mask_png(folder / "a.png", mask)
    pictures = (Image.fromarray(mask), Image.fromarray(mask > 1), Image.fromarray(np.stack([mask] * 3, -1)))
    seeds = [(folder / "a.png").read_bytes(), *(_encode(picture, "PNG") for picture in pictures)]

    def parse(data: bytes) -> None:
        decoded = decode_mask(data, "a.png")
        check_palette(decoded, voc_palette(), "VOC's colours", "a.png")
        check_mask(decoded.mask, (20, 30), 4, "a.png")

    return Parser(seeds[:3], mutations.chunks_changed, parse)


def sbd_mat(folder: pathlib.Path) -> Parser:
    from scipy.io import savemat

    from selftrain_jax.data.sources.voc_masks import read_sbd_mask

    seeds, path = [], folder / "a.mat"
    for compress in (True, False):
        file = io.BytesIO()
        savemat(file, {"GTcls": {"Segmentation": np.eye(6, 8, dtype=np.uint8)}}, do_compression=compress)
        seeds.append(file.getvalue())

    return Parser(seeds, mutations.packed_changed, of_file(path, read_sbd_mask))


def label_table(folder: pathlib.Path) -> Parser:
    from selftrain_jax.data.sources.label_table import Box, make_table, table_example

    rows = np.array([[2, 1, 9, 8, 1, 56, 20, 30], [0, 0, 20, 30, 3, np.nan, 20, 30]])

    def parse(data: bytes) -> None:
        count = len(data) // 64
        rows = np.frombuffer(data[: 64 * count], np.float64).reshape(-1, 8)
        boxes = [Box(n, tuple(row[:4].tolist()), 1, False, n, float(row[5])) for n, row in enumerate(rows)]
        sizes = np.clip(np.nan_to_num(rows[:, 6:]), 1, 2**26)
        table, _ = make_table(boxes, tuple(map(str, range(count))), sizes, str)
        for index in range(count):
            found = table_example(table, index)["boxes"]
            assert np.isfinite(found).all()
            assert (found[:, :2] < found[:, 2:]).all()

    return Parser([rows.tobytes()], mutations.bytes_changed, parse)


def _boxes_source(images: pathlib.Path) -> Source:
    """Two images on disk, a box in the first."""
    images.mkdir(parents=True)
    encoded = encode_png(np.full((20, 30, 3), 90, np.uint8))
    for number in range(2):
        (images / f"{number}.png").write_bytes(encoded)

    def read_labels(index: int) -> dict[str, Any]:
        boxes = np.array([[2, 1, 9, 8]] * (1 - index), np.float32).reshape(-1, 4)
        classes, is_crowd = np.ones(len(boxes), np.int32), np.zeros(len(boxes), bool)
        return {"image_id": f"{index}.png", "boxes": boxes, "classes": classes, "is_crowd": is_crowd}

    names = ("0.png", "1.png")
    pixels = np.full((20, 30, 3), 90, np.uint8)
    return Source("fuzz", CATEGORIES, names, read_labels, lambda _: encoded, lambda _: pixels)


def _voc_list(folder: pathlib.Path, content: bytes) -> pathlib.Path:
    """Write a list of VOC, and return the folder of annotations."""
    for name in ("ImageSets/Main", "Annotations"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "ImageSets/Main/train.txt").write_bytes(content)
    return folder / "Annotations"


def _read_all(source: Source) -> None:
    for index in range(len(source)):
        source.read(index)


def _refused(read: Callable[[], Any]) -> None:
    try:
        read()
    except InputError:
        return


def _encode(picture: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()
