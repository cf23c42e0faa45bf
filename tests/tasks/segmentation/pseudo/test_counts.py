import json

import numpy as np

from selftrain_jax.run_files.fields import to_json
from selftrain_jax.selftrain.shard_index import add_counts
from selftrain_jax.tasks.segmentation.pseudo.counts import count_masks, count_pixels, mask_totals
from selftrain_jax.tasks.segmentation.run_files import MaskSettings
from selftrain_jax.types import Category

CATEGORIES = (Category(0, "background"), Category(2, "cat"))


def example(mask, confidence):
    return {"mask": np.array(mask, np.uint8), "confidence": np.array(confidence, np.uint8)}


def describe(counts):
    return to_json(mask_totals(counts, CATEGORIES, MaskSettings()))


def test_counts_agree_with_a_loop_over_pixels():
    rng = np.random.default_rng(1)
    mask, confidence = rng.choice([0, 2], (11, 13)).astype(np.uint8), rng.integers(0, 256, (11, 13), np.uint8)
    expected = np.zeros((3, 256), int)
    for row in range(11):
        for column in range(13):
            expected[mask[row, column], confidence[row, column]] += 1
    np.testing.assert_array_equal(count_pixels(mask, confidence, 3), expected)


def test_hand_worked_manifest():
    thresholds = np.array([0.5, 0.5, 0.9], np.float32)  # level 231 for the cat
    first = count_masks([example([[0, 0, 2]], [[127, 128, 230]]), example([[2, 2]], [[0, 231]])], thresholds)
    second = count_masks([example([[0], [0]], [[12], [13]])], thresholds)
    manifest = describe(add_counts(first, second))
    json.dumps(manifest)
    assert manifest["num_pixels"] == 7
    assert manifest["num_pixels_at_threshold"] == 2
    assert manifest["coverage"] == 2 / 7
    assert manifest["images_without_pixels_at_threshold"] == 1
    assert manifest["per_class"] == {
        "background": {"pixels": 4, "pixels_at_threshold": 1},
        "cat": {"pixels": 3, "pixels_at_threshold": 1},
    }
    # levels 0 and 12 lie below 0.05 (level 13), 127 in 0.45 .. 0.5, 230 in 0.85 .. 0.9 (level 231)
    counts = np.zeros(20, int)
    counts[[0, 1, 9, 10, 17, 18]] = [2, 1, 1, 1, 1, 1]
    assert manifest["confidence_histogram"]["counts"] == counts.tolist()
    assert manifest["confidence_histogram"]["edges"] == np.round(np.arange(21) * 0.05, 2).tolist()
    by_threshold = manifest["coverage_by_threshold"]
    assert by_threshold["thresholds"] == np.round(np.arange(20) * 0.05, 2).tolist()
    kept = [7, 5, *[4] * 8, 3, *[2] * 7, 1, 0]
    assert by_threshold["coverage"] == [count / 7 for count in kept]


def test_coverage_curve_agrees_with_the_count_at_every_threshold():
    rng = np.random.default_rng(2)
    masks = [example(rng.choice([0, 2], (8, 8)), rng.integers(0, 256, (8, 8)) ** 2 // 255) for _ in range(5)]
    for place in range(20):
        threshold = np.round(place * 0.05, 2)
        counts = count_masks(masks, np.full(3, threshold, np.float32))
        manifest = describe(counts)
        assert manifest["coverage_by_threshold"]["coverage"][place] == manifest["coverage"]
        kept = sum((m["confidence"] / 256 >= threshold).sum() for m in masks)
        assert manifest["num_pixels_at_threshold"] == kept


def test_no_pixel_gives_no_coverage():
    manifest = describe(count_masks([], np.full(3, 0.5, np.float32)))
    assert manifest["coverage"] is None
    assert manifest["coverage_by_threshold"]["coverage"] == [None] * 20
