import dataclasses
import gc
import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from selftrain_jax.data.source import (
    Source,
    cached,
    concatenated,
    decode_image,
    encode_png,
    encoded_suffix,
    image_size,
    labels_cached,
    subset,
    without_labels,
)
from selftrain_jax.errors import InputError
from selftrain_jax.types import Category


def encode(image: np.ndarray, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


def number_source(count: int = 4) -> Source:
    """Image i is filled with the value i and has one box of class i + 1."""

    def read_image(index: int) -> np.ndarray:
        return np.full((2, 3, 3), index, np.uint8)

    return Source(
        name="numbers",
        categories=tuple(Category(number + 1, f"class {number}") for number in range(count)),
        image_ids=tuple(f"id{number}" for number in range(count)),
        read_labels=lambda index: {
            "image_id": f"id{index}",
            "boxes": np.array([[0, 0, 1, 1]], np.float32),
            "classes": np.array([index + 1], np.int32),
            "is_crowd": np.array([False]),
        },
        read_encoded=lambda index: encode_png(read_image(index)),
        read_image=read_image,
    )


def test_subset_keeps_labels_bytes_and_pixels_of_the_same_image_together() -> None:
    part = subset(subset(number_source(), [3, 1, 0]), np.array([0, 2]))
    assert part.image_ids == ("id3", "id0")
    assert len(part) == 2
    for index, number in enumerate((3, 0)):
        example = part.read(index)
        assert example["image_id"] == f"id{number}"
        assert example["classes"].tolist() == [number + 1]
        assert (example["image"] == number).all()
        assert (decode_image(part.read_encoded(index), "test") == number).all()


def test_subset_refuses_indices_out_of_range() -> None:
    with pytest.raises(InputError, match=r"numbers has 4 images.*2 indices.*range: 4, -1"):
        subset(number_source(), [0, 4, -1])


def test_concatenated_sources_keep_labels_bytes_and_pixels_and_ids_stay_unique() -> None:
    numbers = number_source()
    first, second = subset(numbers, [1, 0], "first"), subset(numbers, [3, 1], "second")
    both = concatenated(first, second, "both")
    assert (both.name, both.categories) == ("both", numbers.categories)
    assert both.image_ids == ("id1", "id0", "id3", "second/id1")
    for index, number in enumerate((1, 0, 3, 1)):
        assert both.read(index)["classes"].tolist() == [number + 1]
        assert (both.read_image(index) == number).all()
        assert (decode_image(both.read_encoded(index), "test") == number).all()


def test_size_is_read_from_the_header_or_as_the_source_says() -> None:
    plain = number_source()
    known = dataclasses.replace(plain, read_size=lambda index: (index, 7))
    assert plain.size_px(1) == (2, 3)
    assert known.size_px(1) == (1, 7)
    assert subset(known, [3]).size_px(0) == (3, 7)
    both = concatenated(plain, known, "both")
    assert [both.size_px(index) for index in (0, 5)] == [(2, 3), (1, 7)]
    with pytest.raises(InputError, match="numbers, image id2: not an image"):
        dataclasses.replace(plain, read_encoded=lambda index: b"text").size_px(2)


def test_without_labels_leaves_only_the_image_and_its_id() -> None:
    source = without_labels(number_source())
    assert source.categories == ()
    assert source.read_labels(2) == {"image_id": "id2"}
    assert set(source.read(2)) == {"image_id", "image"}


def test_png_round_trip_is_exact() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    assert np.array_equal(decode_image(encode_png(image), "test"), image)


def test_grey_image_becomes_three_equal_channels() -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert np.array_equal(decode_image(encode(grey, "PNG"), "test"), np.repeat(grey[..., None], 3, axis=2))


def test_exif_orientation_is_ignored_as_boxes_count_stored_pixels() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees to view
    encoded = encode(np.zeros((4, 6, 3), np.uint8), "JPEG", exif=exif)
    assert decode_image(encoded, "test").shape == (4, 6, 3)
    assert image_size(encoded, "test") == (4, 6)


def huge_png() -> bytes:
    """30,000 x 30,000 pixels in the header, hardly a byte of data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


NOISE = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)


@pytest.mark.parametrize(
    ("encoded", "words"),
    [
        (lambda: b"", "not an image.*0 bytes"),
        (lambda: b"<html>not found</html>", "not an image.*JPEG, PNG"),
        (lambda: encode(NOISE, "JPEG")[:-300], "damaged or cut off"),
        (lambda: encode(NOISE, "PNG")[:-1000], "damaged or cut off"),
        (lambda: encode(NOISE, "GIF"), "not an image"),
        (huge_png, "too large.*at most 67108864 pixels"),
        (lambda: encode(np.zeros((4, 4), np.uint16), "PNG"), "expected 8 bits"),
    ],
)
def test_bytes_that_are_no_sound_image_are_refused_by_name(encoded: Callable[[], bytes], words: str) -> None:
    with pytest.raises(InputError, match=f"^a/b.jpg: .*{words}"):
        decode_image(encoded(), "a/b.jpg")


def test_image_over_the_limit_but_below_pillows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selftrain_jax.data.source.MAX_IMAGE_PIXELS", 32 * 32 - 1)
    with pytest.raises(InputError, match="too large"):
        image_size(encode(NOISE, "PNG"), "test")


def test_suffix_is_told_from_the_first_bytes() -> None:
    found = [encoded_suffix(encode(NOISE, kind)) for kind in ("JPEG", "PNG", "BMP", "WEBP")]
    assert found == [".jpg", ".png", None, None]


def test_cached_source_reads_each_image_once_until_the_budget_is_full() -> None:
    reads: list[int] = []

    def read_image(index: int) -> np.ndarray:
        reads.append(index)
        return np.full((512, 512, 3), index, np.uint8)

    source = Source(
        name="counted",
        categories=(),
        image_ids=("a", "b", "c"),
        read_labels=lambda index: {"image_id": "abc"[index]},
        read_encoded=lambda index: b"",
        read_image=read_image,
    )
    kept = cached(source, budget_mib=1.6)  # two images of 0.75 MiB
    for _ in range(2):
        for index in range(3):
            example = kept.read(index)
            assert (example["image"] == index).all()
            assert example["image_id"] == "abc"[index]
    assert reads == [0, 1, 2, 2]


def test_labels_alone_are_read_once_and_images_each_time() -> None:
    reads: list[str] = []

    def read(kind: str) -> Callable[[int], dict]:
        def read_index(index: int) -> dict:
            reads.append(f"{kind} {index}")
            return {"image_id": str(index)}

        return read_index

    source = Source("v", (), ("0", "1"), read("labels"), lambda index: b"", read("image"))  # type: ignore
    kept = labels_cached(source, budget_mib=1.0)
    for _ in range(2):
        for index in range(2):
            kept.read_image(index)
            assert kept.read_labels(index) == {"image_id": str(index)}
    assert sorted(reads) == ["image 0", "image 0", "image 1", "image 1", "labels 0", "labels 1"]


def read_empty_labels(index: int) -> dict:
    """The labels of an image without a box, new at each reading, as readers make them."""
    return {
        "image_id": f"{index:012d}.jpg",
        "boxes": np.zeros((0, 4), np.float32),
        "classes": np.zeros(0, np.int32),
        "is_crowd": np.zeros(0, bool),
    }


def read_in_a_list(index: int) -> dict:
    return {"image_id": f"{index:012d}.jpg", "tags": [f"{index} {part}" for part in ("a", "b", "c")]}


def read_mask_of_a_larger_array(index: int) -> dict:
    return {"image_id": f"{index}.jpg", "mask": np.full((64, 64, 4), index % 7, np.uint8)[..., 0]}


READERS = [
    read_empty_labels,
    read_in_a_list,
    read_mask_of_a_larger_array,
    lambda index: {"image_id": f"{index:012d}.jpg"},
    lambda index: np.full((2, 2, 3), index % 7, np.uint8),
]


def growth_mib(read: Callable[[int], object], budget_mib: float, count: int) -> float:
    """How much memory a cache that has read `count` values keeps."""
    ids = tuple(map(str, range(count)))
    source = cached(Source("many", (), ids, read, lambda index: b"", read), budget_mib)  # type: ignore
    source.read_labels(0)  # NumPy's own first allocations
    gc.collect()
    tracemalloc.start()
    try:
        for index in range(1, count):
            source.read_labels(index)
        gc.collect()
        return tracemalloc.get_traced_memory()[0] / 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("read", READERS)
def test_cache_grows_by_its_budget_and_no_more(read: Callable[[int], object]) -> None:
    grown = growth_mib(read, budget_mib=0.125, count=1000)
    assert 0.06 < grown < 0.1375, grown


def test_cache_without_a_budget_keeps_nothing() -> None:
    assert growth_mib(read_empty_labels, budget_mib=0.0, count=500) < 0.01
    source = Source("one", (), ("a",), read_empty_labels, lambda index: b"", lambda index: NOISE)
    assert cached(source, 0.0).read_labels(0) is not cached(source, 0.0).read_labels(0)


def test_cache_returns_what_was_read_where_arrays_are_views() -> None:
    source = Source("v", (), ("a", "b"), read_mask_of_a_larger_array, lambda index: b"", lambda index: NOISE)
    kept = cached(source, 1.0)
    first, again = kept.read_labels(1), kept.read_labels(1)
    assert again["mask"].flags.owndata
    assert first["image_id"] == again["image_id"] == "1.jpg"
    np.testing.assert_array_equal(first["mask"], again["mask"])
    again["mask"] = again["image_id"] = None  # what was read is the reader's
    np.testing.assert_array_equal(kept.read_labels(1)["mask"], first["mask"])
    assert kept.read_labels(1)["mask"] is kept.read_labels(1)["mask"]
