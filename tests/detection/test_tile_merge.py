"""Boxes of tiles come back to the whole image: what a perfect detector sees by tiles is the truth, once."""

import numpy as np
import pytest

from selftrain_jax.data.tiles import Tiling, cut_labels, tile_grid
from selftrain_jax.detection.tile_merge import TileBoxes, merge_tiles


def see(boxes, classes, tiles, size_px, scores=None):
    """What a detector that knows the truth finds in each tile, slivers too."""
    scores = np.ones(len(boxes)) if scores is None else scores
    whole = {"image_id": "", "boxes": np.float32(boxes), "classes": classes, "scores": np.float32(scores)}
    parts = []
    for index, tile in enumerate(tiles):
        seen = cut_labels(whole, tile, size_px, 0.0)
        moved = seen["boxes"] + np.tile(tile[:2], 2).astype(np.float32)
        num = len(moved)
        parts.append(
            TileBoxes(moved, seen["classes"], seen["scores"], np.zeros(num, np.float32), np.full(num, index))
        )
    return TileBoxes(*map(np.concatenate, zip(*parts, strict=True)))


def scatter(rng, size_px, gap_px=8, sides_px=(8, 90), tries=150):
    """Boxes of any size, some larger than a tile, at least `gap_px` apart."""
    boxes = np.zeros((0, 4))
    for _ in range(tries):
        height, width = rng.uniform(*sides_px, 2)
        y, x = rng.uniform(0, np.array(size_px) - sides_px[0])
        box = np.array([y, x, min(y + height, size_px[0]), min(x + width, size_px[1])])
        low, high = np.maximum(boxes[:, :2], box[:2] - gap_px), np.minimum(boxes[:, 2:], box[2:] + gap_px)
        if not (high > low).all(axis=1).any():
            boxes = np.vstack([boxes, box])
    return boxes


def in_order(boxes, classes):
    rows = np.column_stack([boxes, classes])
    return rows[np.lexsort(rows.T)]


@pytest.mark.parametrize("seed", range(60))
def test_a_perfect_detector_by_tiles_finds_the_whole_image_s_boxes(seed):
    rng = np.random.default_rng(seed)
    size_px = tuple(rng.integers(40, 500, 2).tolist())
    side_px = int(rng.integers(64, 200))
    tiles = tile_grid(size_px, Tiling(side_px, int(rng.integers(0, side_px // 2))))
    boxes = scatter(rng, size_px)
    classes = rng.integers(1, 3, len(boxes)).astype(np.int32)
    merged = merge_tiles(see(boxes, classes, tiles, size_px), tiles, size_px)
    assert len(merged.boxes) == len(boxes)
    expected = in_order(np.float32(boxes), classes)
    np.testing.assert_allclose(in_order(merged.boxes, merged.classes), expected, atol=1e-3)


SIZE_PX = (100, 100)
TILES = tile_grid(SIZE_PX, Tiling(60, 20))  # 0 to 60 and 40 to 100


def found(*rows):
    """Rows of (box, class, score, tile)."""
    boxes, classes, scores, tiles = zip(*rows, strict=True)
    places = np.arange(1, len(rows) + 1) / 10
    return TileBoxes(
        np.array(boxes, np.float32),
        np.array(classes),
        np.float32(scores),
        np.float32(places),
        np.array(tiles),
    )


def merge(*rows):
    return merge_tiles(found(*rows), TILES, SIZE_PX)


def test_a_box_on_the_corner_of_four_tiles_comes_back_once():
    box = np.array([[30, 35, 75, 70]], np.float32)  # whole in none of them
    seen = see(box, np.array([1], np.int32), TILES, SIZE_PX, [0.7])
    assert len(seen.boxes) == 4
    merged = merge_tiles(seen, TILES, SIZE_PX)
    np.testing.assert_allclose(merged.boxes, box)
    np.testing.assert_allclose(merged.scores, [0.7])


def test_a_box_that_all_four_tiles_see_whole_is_the_surest_one_s():
    merged = merge(*(([45, 45, 55, 55 + tile / 10], 1, 0.5 + tile / 10, tile) for tile in range(4)))
    np.testing.assert_allclose(merged.boxes, [[45, 45, 55, 55.3]])
    np.testing.assert_allclose(merged.scores, [0.8])


def test_the_whole_box_is_taken_before_a_surer_part_of_it_with_the_best_score():
    part, whole = ([10, 30, 20, 60], 1, 0.9, 0), ([10, 29, 20, 70], 1, 0.6, 1)
    grid = tile_grid((60, 100), Tiling(60, 35))
    merged = merge_tiles(found(part, whole), grid[[0, -1]], (60, 100))
    np.testing.assert_allclose(merged.boxes, [[10, 29, 20, 70]])
    assert len(merged.scores) == 1


def test_a_part_is_dropped_where_its_neighbour_sees_the_whole_and_says_another_class():
    """Half of an 8 is a 3; the tile that sees all of it knows better."""
    merged = merge(([10, 45, 20, 60], 3, 0.9, 0), ([10, 45, 20, 70], 8, 0.6, 1))
    np.testing.assert_array_equal(merged.classes, [8])
    np.testing.assert_allclose(merged.scores, [0.6])


def test_a_part_stays_where_nobody_found_the_whole():
    merged = merge(([10, 45, 20, 60], 3, 0.9, 0), ([70, 75, 80, 90], 3, 0.6, 3))
    assert len(merged.boxes) == 2


def test_other_classes_and_other_places_are_not_merged():
    merged = merge(([10, 20, 20, 60], 1, 0.9, 0), ([10, 40, 20, 90], 2, 0.8, 1))
    assert len(merged.boxes) == 2  # a train of two parts, if they were of one class
    merged = merge(([10, 20, 20, 60], 1, 0.9, 0), ([10, 40, 20, 90], 1, 0.8, 1))
    np.testing.assert_allclose(merged.boxes, [[10, 20, 20, 90]])
    np.testing.assert_allclose(merged.place_std, [0.2])  # the larger
    merged = merge(([10, 20, 20, 60], 1, 0.9, 0), ([30, 40, 40, 90], 1, 0.8, 1))
    assert len(merged.boxes) == 2


def test_an_object_that_ends_in_the_overlap_is_not_the_one_that_begins_there():
    merged = merge(([10, 20, 20, 51], 1, 0.9, 0), ([10, 49, 20, 90], 1, 0.8, 1))
    assert len(merged.boxes) == 2


def test_boxes_of_one_tile_are_left_as_the_network_s_nms_left_them():
    boxes = [([10, 10, 30, 30], 1, 0.5, 0), ([10, 11, 30, 31], 1, 0.9, 0), ([10, 10, 30, 30], 1, 0.4, 0)]
    merged = merge_tiles(found(*boxes), tile_grid((60, 60), Tiling(60, 20)), (60, 60))
    np.testing.assert_allclose(merged.scores, [0.9, 0.5, 0.4])
    np.testing.assert_allclose(merged.place_std, [0.2, 0.1, 0.3])
    np.testing.assert_allclose(merged.boxes[0], [10, 11, 30, 31])


def test_no_box_is_no_box():
    empty = TileBoxes(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0), np.zeros(0), np.zeros(0, int))
    assert [len(values) for values in merge_tiles(empty, TILES, SIZE_PX)] == [0] * 5


def test_a_noisy_detector_finds_each_object_once():
    """Boxes off by a pixel or two and slivers that are not found, as a network's are."""
    rng = np.random.default_rng(0)
    size_px = (700, 900)
    tiles = tile_grid(size_px, Tiling(256, 64))
    boxes = scatter(rng, size_px, gap_px=12, sides_px=(25, 60), tries=600)
    classes = np.ones(len(boxes), np.int32)
    seen = see(boxes, classes, tiles, size_px)
    large = (seen.boxes[:, 2:] - seen.boxes[:, :2] > 12).all(axis=1)
    seen = TileBoxes(*(values[large] for values in seen))
    moved = seen.boxes + rng.normal(0, 1.0, seen.boxes.shape).astype(np.float32)
    frame = tiles[seen.tiles]
    moved = np.clip(moved, np.tile(frame[:, :2], 2), np.tile(frame[:, 2:], 2)).astype(np.float32)
    scores = rng.uniform(0.5, 1, len(moved)).astype(np.float32)
    merged = merge_tiles(seen._replace(boxes=moved, scores=scores), tiles, size_px)
    assert len(seen.boxes) > 1.3 * len(boxes) > 100
    assert len(merged.boxes) == len(boxes)
