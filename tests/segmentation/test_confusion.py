"""Confusion matrix and mean IoU, by hand and against counting with sets of pixels."""

import json

import numpy as np
import pytest

from selftrain_jax.segmentation.confusion import (
    confusion_matrix,
    iou_by_class,
    mean_iou,
    summarise_confusion,
)
from selftrain_jax.types import Category

TRUTH = np.array([[0, 0, 1, 1], [2, 255, 1, 255]], np.uint8)
PREDICTED = np.array([[0, 1, 1, 1], [0, 2, 2, 0]], np.uint8)
BY_HAND = [[1, 1, 0, 0], [0, 2, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]]  # rows truth, columns predicted
CATEGORIES = [Category(id, name) for id, name in enumerate(("background", "cat", "dog", "cow"))]


def random_masks(seed, num_classes, shape=(3, 37, 41)):
    random = np.random.default_rng(seed)
    truth = random.integers(0, num_classes, shape).astype(np.uint8)
    truth[random.uniform(size=shape) < 0.2] = 255
    truth[truth == num_classes // 2] = 0  # a class that is only predicted, if at all
    predicted = np.where(random.uniform(size=shape) < 0.6, truth, random.integers(0, num_classes, shape))
    predicted[predicted >= num_classes - 1] = 0  # one that does not occur, or only in the truth
    return truth, predicted.astype(np.uint8)


def mean_iou_of_pixel_sets(truth, predicted, num_classes):
    ious = []
    for k in range(num_classes):
        of_truth = set(np.flatnonzero(truth == k).tolist())
        of_prediction = set(np.flatnonzero((predicted == k) & (truth != 255)).tolist())
        if of_truth | of_prediction:
            ious.append(len(of_truth & of_prediction) / len(of_truth | of_prediction))
    return float(np.mean(ious))


def test_matrix_by_hand() -> None:
    found = confusion_matrix(TRUTH, PREDICTED, 4)
    assert found.tolist() == BY_HAND
    assert found.dtype == np.int64


def test_iou_and_their_mean_by_hand() -> None:
    found = iou_by_class(np.array(BY_HAND))
    np.testing.assert_array_equal(found, [1 / 3, 2 / 4, 0, np.nan])
    assert mean_iou(np.array(BY_HAND)) == (1 / 3 + 2 / 4 + 0) / 3


@pytest.mark.parametrize("num_classes", [2, 5, 21, 255])
def test_mean_iou_of_random_masks_is_exactly_that_of_pixel_sets(num_classes) -> None:
    for seed in range(3):
        truth, predicted = random_masks(seed, num_classes)
        found = mean_iou(confusion_matrix(truth, predicted, num_classes))
        assert found == mean_iou_of_pixel_sets(truth, predicted, num_classes)


def test_matrices_of_images_add_up_to_that_of_all() -> None:
    truth, predicted = random_masks(7, 6)
    parts = [confusion_matrix(t, p, 6) for t, p in zip(truth, predicted, strict=True)]
    np.testing.assert_array_equal(sum(parts), confusion_matrix(truth, predicted, 6))


def test_perfect_prediction_is_1_and_ignored_pixels_do_not_matter() -> None:
    truth, _ = random_masks(1, 9)
    predicted = np.where(truth == 255, 3, truth).astype(np.uint8)
    assert mean_iou(confusion_matrix(truth, predicted, 9)) == 1.0


def test_transposed_masks_transpose_the_matrix_and_keep_the_iou() -> None:
    truth, predicted = random_masks(2, 5)
    known = truth != 255
    first = confusion_matrix(truth[known], predicted[known], 5)
    second = confusion_matrix(predicted[known], truth[known], 5)
    np.testing.assert_array_equal(first.T, second)
    np.testing.assert_array_equal(iou_by_class(first), iou_by_class(second))


def test_summary_by_hand_holds_only_json() -> None:
    found = summarise_confusion(np.array(BY_HAND), CATEGORIES)
    assert json.loads(json.dumps(found)) == {
        "miou": (1 / 3 + 1 / 2) / 3,
        "pixel_accuracy": 3 / 6,
        "per_class": {
            "background": {"iou": 1 / 3, "num_pixels": 2},
            "cat": {"iou": 0.5, "num_pixels": 3},
            "dog": {"iou": 0.0, "num_pixels": 1},
            "cow": {"iou": -1.0, "num_pixels": 0},
        },
        "confusion": BY_HAND,
    }


def test_truth_without_a_known_pixel_is_undefined_and_warns_of_nothing() -> None:
    nothing = confusion_matrix(np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8), 4)
    assert nothing.sum() == 0
    with np.errstate(all="raise"):
        assert np.isnan(mean_iou(nothing))
        found = summarise_confusion(nothing, CATEGORIES)
    assert (found["miou"], found["pixel_accuracy"]) == (-1.0, -1.0)


@pytest.mark.parametrize(("truth", "predicted"), [(0, 4), (4, 0), (255, 4), (255, 255)])
def test_class_beyond_the_last_is_an_error_and_never_another_cell(truth, predicted) -> None:
    with pytest.raises(AssertionError, match=r"class 4 of 4|class 255 of 4|beyond the 4"):
        confusion_matrix(np.full((1, 1), truth, np.uint8), np.full((1, 1), predicted, np.uint8), 4)
