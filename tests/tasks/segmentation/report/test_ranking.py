import numpy as np
import pytest

from selftrain_jax.tasks.segmentation.report import test_images as mask_test_images
from selftrain_jax.tasks.segmentation.report.galleries import (
    MaskSummary,
    confident_mask,
    rarest_class,
    right_share,
    summarise_pseudo_masks,
)
from tests.tasks.segmentation.report.mask_run import make_mask_source, ramp, stripes

HALF = np.full(256, 128)  # levels of the threshold 0.5


def test_unsure_pixels_are_ignored_and_masks_without_confidence_kept_whole():
    mask = np.array([[3, 3, 4]], np.uint8)
    labels = {"mask": mask, "confidence": np.array([[127, 128, 0]], np.uint8)}
    np.testing.assert_array_equal(confident_mask(labels, HALF), [[255, 3, 255]])
    np.testing.assert_array_equal(confident_mask({"mask": mask}, HALF), mask)


def test_share_of_right_pixels_leaves_out_what_either_side_ignores():
    mask = np.array([[1, 1, 255, 2, 2]], np.uint8)
    truth = np.array([[1, 0, 1, 255, 2]], np.uint8)
    assert right_share(mask, truth) == pytest.approx(2 / 3)
    assert np.isnan(right_share(mask, np.full((1, 5), 255, np.uint8)))


def test_summary_counts_kept_pixels_confidence_and_precision():
    source = make_mask_source("p", 1, {"mask": stripes(5), "confidence": ramp()})
    summary = summarise_pseudo_masks(source, lambda image_id: {"mask": stripes(0)}, HALF)[0]
    assert summary.coverage == pytest.approx(7 / 20)  # rows 13 to 19: 135/256 and more
    assert summary.confidence == pytest.approx(100.5 / 256)
    np.testing.assert_array_equal(summary.kept[:3], [60, 60, 90])
    assert summary.precision == pytest.approx(0.5)  # moved by half a stripe; the last row's truth is ignored
    unknown = summarise_pseudo_masks(source, lambda image_id: {"image_id": image_id}, HALF)[0]
    assert np.isnan(unknown.precision)


def test_rarest_class_has_the_fewest_pixels_of_those_with_any():
    kept = np.zeros((2, 256), np.int64)
    kept[0, :3] = 50, 0, 9
    kept[1, :3] = 50, 0, 3
    summaries = [MaskSummary(place, 1.0, 1.0, row, float("nan")) for place, row in enumerate(kept)]
    assert rarest_class(summaries) == 2
    assert rarest_class([]) is None


def test_typical_images_are_those_nearest_to_the_median():
    gains = {"a": -9.0, "b": 1.0, "c": 2.0, "d": 2.5, "e": 90.0}
    assert mask_test_images.nearest_to_median(gains, 2) == ["c", "d"]
    assert mask_test_images.nearest_to_median({}, 2) == []


def test_gained_and_lost_images_are_ranked_and_have_the_right_sign():
    gains = {"a": -9.0, "b": 1.0, "c": 2.0, "d": 0.0, "e": -1.0}
    chosen = {title: ids for title, _, ids in mask_test_images.choose(gains, "teacher")}
    assert chosen["Gained most"] == ["c", "b"]
    assert chosen["Lost most"] == ["a", "e"]


def test_changes_tell_apart_all_four_cases_and_leave_unknown_truth_out():
    truth = np.array([[1, 1, 1, 1, 255]], np.uint8)
    before = np.array([[1, 0, 1, 0, 0]], np.uint8)
    after = np.array([[1, 1, 2, 2, 1]], np.uint8)
    np.testing.assert_array_equal(mask_test_images.change_codes(truth, before, after), [[0, 1, 2, 3, 255]])
    image = np.full((1, 5, 3), 100, np.uint8)
    picture = mask_test_images.draw_change(image, truth, before, after)
    assert picture.caption == "became right 25 %, wrong 25 %; wrong in both 25 %"
    middle = picture.image[picture.image.shape[0] // 2]
    assert (middle[126] == mask_test_images.GAINED).all()
    assert (middle[210] == mask_test_images.LOST).all()
