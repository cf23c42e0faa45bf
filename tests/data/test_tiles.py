"""Which tiles an image has, and what of its labels each shows."""

import math

import numpy as np
import pytest

from selftrain_jax.data.tiles import Tiling, check_tiling, cut_labels, tile_cores, tile_grid, tile_id
from selftrain_jax.errors import InputError


@pytest.mark.parametrize("overlap_px", [0, 1, 13, 31])
@pytest.mark.parametrize("size_px", [(32, 32), (33, 32), (10, 400), (100, 97), (64, 320), (1, 33)])
def test_the_grid_covers_the_image_with_so_many_tiles_as_the_formula_says(size_px, overlap_px):
    tiles = tile_grid(size_px, Tiling(32, overlap_px))
    counts = [1 if n <= 32 else math.ceil((n - overlap_px) / (32 - overlap_px)) for n in size_px]
    assert len(tiles) == counts[0] * counts[1]
    covered = np.zeros(size_px, int)
    for top, left, bottom, right in tiles:
        assert 0 <= top < bottom <= size_px[0]
        assert 0 <= left < right <= size_px[1]
        assert (bottom - top, right - left) == (min(32, size_px[0]), min(32, size_px[1]))
        covered[top:bottom, left:right] += 1
    assert covered.min() == 1 or min(counts) * max(counts) > 1
    assert covered.all()
    for axis in (0, 1):
        starts = np.unique(tiles[:, axis])
        assert starts[-1] + min(32, size_px[axis]) == size_px[axis]  # flush with the border
        assert (starts[:-1] + 32 - starts[1:] >= overlap_px).all()


def test_one_tile_fewer_would_overlap_too_little():
    for length in range(33, 200):
        count = len(tile_grid((length, 1), Tiling(32, 10)))
        assert count * 32 - (count - 1) * 10 >= length > (count - 1) * 32 - (count - 2) * 10


def test_cores_divide_the_image_and_are_farthest_from_their_tiles_borders():
    size_px = (90, 131)
    tiles = tile_grid(size_px, Tiling(40, 15))
    owner = np.full(size_px, -1)
    for index, (top, left, bottom, right) in enumerate(tile_cores(tiles)):
        assert (owner[top:bottom, left:right] == -1).all()
        owner[top:bottom, left:right] = index
    assert (owner >= 0).all()

    def distance(tile, y, x):
        """How far a pixel's middle is from the nearest side of a tile that is inside the image."""
        sides = [(tile[0], y), (tile[2], -y), (tile[1], x), (tile[3], -x)]
        inner = [tile[0] > 0, tile[2] < size_px[0], tile[1] > 0, tile[3] < size_px[1]]
        return min(
            (abs(abs(at) - side) for (side, at), is_inner in zip(sides, inner, strict=True) if is_inner)
        )

    for y, x in np.random.default_rng(0).integers(0, size_px, (300, 2)):
        shown = [t for t in tiles if t[0] <= y < t[2] and t[1] <= x < t[3]]
        best = max(distance(tile, y + 0.5, x + 0.5) for tile in shown)
        assert distance(tiles[owner[y, x]], y + 0.5, x + 0.5) >= best - 1


def boxes_of(*boxes, **more):
    return {
        "image_id": "a",
        "coco_id": 7,
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "classes": np.arange(1, len(boxes) + 1).astype(np.int32),
        **more,
    }


TILE = np.array([10, 20, 42, 52])


def test_boxes_are_clipped_moved_and_keep_what_belongs_to_them():
    labels = boxes_of(
        [12, 22, 20, 30],  # inside
        [0, 20, 20, 30],  # half of it
        [0, 0, 10, 20],  # touches the corner from outside
        [41, 51, 61, 61],  # a corner of 1 x 1 of 20 x 10
        scores=np.array([0.9, 0.8, 0.7, 0.6], np.float32),
        place_std=np.array([0.1, 0.2, 0.3, 0.4], np.float32),
        areas=np.array([50, 100, 10, 100], np.float32),
    )
    cut = cut_labels(labels, TILE, (100, 100), min_visible=0.5)
    np.testing.assert_allclose(cut["boxes"], [[2, 2, 10, 10], [0, 0, 10, 10], [31, 31, 32, 32]])
    np.testing.assert_array_equal(cut["classes"], [1, 2, 4])
    np.testing.assert_allclose(cut["scores"], [0.9, 0.8, 0.6])
    np.testing.assert_allclose(cut["place_std"], [0.1, 0.2, 0.4])
    np.testing.assert_allclose(cut["areas"], [50, 50, 0.5])
    np.testing.assert_array_equal(cut["is_ignore"], [False, False, True])
    assert cut["image_id"] == "a#10,20" == tile_id("a", TILE)
    assert "coco_id" not in cut


@pytest.mark.parametrize(("min_visible", "ignored"), [(0.0, 0), (0.4, 1), (0.5, 1), (0.51, 2), (1.0, 2)])
def test_a_box_is_an_object_from_the_visible_share_on(min_visible, ignored):
    labels = boxes_of([12, 22, 20, 30.1], [0, 20, 20, 30], [0, 20, 12.5, 30])
    assert cut_labels(labels, TILE, (100, 100), min_visible)["is_ignore"].sum() == ignored


def test_a_cut_crowd_stays_a_crowd_and_an_ignored_box_is_ignored():
    labels = boxes_of([0, 20, 12, 30], [12, 22, 20, 30], is_crowd=np.array([True, False]))
    cut = cut_labels({**labels, "is_ignore": np.array([False, True])}, TILE, (100, 100), 0.5)
    np.testing.assert_array_equal(cut["is_crowd"], [True, False])
    np.testing.assert_array_equal(cut["is_ignore"], [False, True])


def test_what_is_known_of_pixels_is_cut_and_must_fit_its_image():
    rng = np.random.default_rng(0)
    mask, soft = (
        rng.integers(0, 9, (60, 70)).astype(np.uint8),
        rng.integers(0, 9, (60, 70, 4)).astype(np.uint8),
    )
    labels = {"image_id": "a", "mask": mask, "soft_mask": soft, "is_pseudo": True}
    cut = cut_labels(labels, TILE, (60, 70), 0.5)
    np.testing.assert_array_equal(cut["mask"], mask[10:42, 20:52])
    np.testing.assert_array_equal(cut["soft_mask"], soft[10:42, 20:52])
    assert cut["is_pseudo"]
    with pytest.raises(InputError, match=r"the mask of image a is 70 x 60 px, the image 71 x 60 px"):
        cut_labels(labels, TILE, (60, 71), 0.5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((-5, 0.25, 0.5), r"config\.image\.tile_px=-5 .*at least 32"),
        ((31, 0.25, 0.5), r"config\.image\.tile_px=31 .*at least 32"),
        ((64, 1.0, 0.5), r"config\.image\.tile_overlap_frac=1 .*below 1"),
        ((64, -0.1, 0.5), r"config\.image\.tile_overlap_frac=-0\.1"),
        ((64, float("nan"), 0.5), r"config\.image\.tile_overlap_frac=nan"),
        ((64, 0.25, 1.5), r"config\.image\.tile_min_visible=1\.5"),
        ((64, 0.25, -0.1), r"config\.image\.tile_min_visible=-0\.1"),
    ],
)
def test_values_out_of_their_range_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        check_tiling(*values)


def test_off_and_the_bounds_are_accepted():
    for values in ((0, 0.25, 0.5), (32, 0.0, 0.0), (32, 0.99, 1.0)):
        check_tiling(*values)
