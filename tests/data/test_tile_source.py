"""The tiles of a source: what each shows, and how often an image is read for them."""

import threading

import numpy as np
import pytest

from selftrain_jax.data.source import Source, cached, decode_image, encode_png, subset
from selftrain_jax.data.tile_source import find_tiles, keep_recent, tiled
from selftrain_jax.data.tiles import Tiling
from selftrain_jax.errors import InputError
from selftrain_jax.types import Category

TILING = Tiling(32, 8)
SIZES = ((70, 50), (20, 30), (32, 90))


def make_source(reads=None, bad=()):
    """Images of noise, of a class a pixel, with one box each."""
    images = [
        np.random.default_rng(i).integers(0, 250, (*size, 3)).astype(np.uint8) for i, size in enumerate(SIZES)
    ]
    ids = ("a", "b", "c")

    def read_encoded(index):
        return b"no image" if index in bad else encode_png(images[index])

    def read_image(index):
        if reads is not None:
            reads.append(index)
        return decode_image(read_encoded(index), ids[index])

    def read_labels(index):
        return {
            "image_id": ids[index],
            "boxes": np.array([[2, 3, 18, 28]], np.float32),
            "classes": np.array([1], np.int32),
            "mask": images[index][:, :, 0],
        }

    return Source("noise", (Category(1, "one"),), ids, read_labels, read_encoded, read_image)


def test_tiles_are_the_parts_of_their_images_with_the_labels_there():
    source = make_source()
    tiles, found = tiled(source, TILING), find_tiles(source, TILING)
    assert len(tiles) == len(found) == 3 * 2 + 1 + 4
    np.testing.assert_array_equal(found.counts, [6, 1, 4])
    assert tiles.image_ids[:2] == ("a#0,0", "a#0,18")
    assert tiles.image_ids[6] == "b#0,0"
    assert len(set(tiles.image_ids)) == len(tiles)
    for index, (image, box) in enumerate(zip(found.images, found.boxes, strict=True)):
        example, whole = tiles.read(index), source.read_image(image)
        part = whole[box[0] : box[2], box[1] : box[3]]
        np.testing.assert_array_equal(example["image"], part)
        np.testing.assert_array_equal(example["mask"], part[:, :, 0])
        np.testing.assert_array_equal(decode_image(tiles.read_encoded(index), ""), part)
        assert example["image_id"] == tiles.image_ids[index]
        assert tiles.read_size(index) == part.shape[:2]


def test_an_image_no_larger_than_a_tile_keeps_its_boxes_and_pixels():
    source = make_source()
    tile = tiled(subset(source, [1]), TILING).read(0)
    np.testing.assert_array_equal(tile["boxes"], source.read_labels(1)["boxes"])
    np.testing.assert_array_equal(tile["image"], source.read_image(1))
    assert not tile["is_ignore"].any()


def test_neighbours_are_cut_from_one_reading_and_kept_images_are_not_read_again():
    reads = []
    tiles = tiled(make_source(reads), TILING)
    for index in range(len(tiles)):
        tiles.read_image(index)
    assert reads == [0, 1, 2]
    reads.clear()
    tiles = tiled(cached(make_source(reads), 1.0), TILING)
    for index in np.random.default_rng(0).permutation(np.tile(np.arange(len(tiles)), 3)).tolist():
        tiles.read_image(index)
    assert sorted(reads) == [0, 1, 2]


def test_an_image_that_cannot_be_read_has_one_tile_which_says_so():
    tiles = tiled(make_source(bad=(0,)), TILING)
    assert len(tiles) == 1 + 1 + 4
    for _ in range(2):
        with pytest.raises(InputError, match="a: not an image"):
            tiles.read_image(0)
    tiles.read_image(1)


def test_an_image_that_changes_under_the_run_is_told():
    source = make_source()
    tiles = find_tiles(source, TILING)
    tiles.sizes_px[:6] -= 1
    with pytest.raises(InputError, match=r"image a of noise is 50 x 70 px, its header said 49 x 69"):
        tiled(source, TILING, tiles).read_image(0)


def test_some_images_by_their_indices_in_any_order():
    found = find_tiles(make_source(), TILING, [2, 1, 2])
    np.testing.assert_array_equal(found.counts, [4, 1, 4])
    np.testing.assert_array_equal(found.images, [2] * 4 + [1] + [2] * 4)


def test_threads_that_want_one_value_wait_for_one_reading():
    reads, begin = [], threading.Barrier(8)

    def read(index):
        reads.append(index)
        return index * 10

    kept, found = keep_recent(read, 2), []

    def ask():
        begin.wait()
        found.append(kept(5))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [50] * 8
    assert reads == [5]


def test_the_oldest_value_is_forgotten_and_an_error_is_not_kept():
    reads = []

    def read(index):
        reads.append(index)
        if index < 0:
            raise InputError("no")
        return index

    kept = keep_recent(read, 2)
    for index in (1, 2, 1, 3, 1, 2):
        kept(index)
    assert reads == [1, 2, 3, 2]
    for _ in range(2):
        with pytest.raises(InputError, match="no"):
            kept(-1)
    assert reads[4:] == [-1, -1]
