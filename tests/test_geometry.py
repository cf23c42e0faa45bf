"""Overlaps of boxes and masks by hand, and against painted boxes, pycocotools and sets of pixels."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from selftrain_jax.geometry import box_areas, box_iou, confusion_matrix, iou_by_class, mean_iou

TRUTH = np.array([[0, 0, 1, 1], [2, 255, 1, 255]], np.uint8)
PREDICTED = np.array([[0, 1, 1, 1], [0, 2, 2, 0]], np.uint8)
BY_HAND = [[1, 1, 0, 0], [0, 2, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]]  # rows truth, columns predicted


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


def random_boxes(rng, count):
    corners = np.sort(rng.integers(0, 12, (count, 2, 2)), axis=1)
    return corners.reshape(count, 4).astype(np.float32)  # some of them empty


def paint(boxes):
    cells = np.arange(12) + 0.5
    inside = [(boxes[:, None, k] < cells) & (cells < boxes[:, None, k + 2]) for k in (0, 1)]
    return inside[0][:, :, None] & inside[1][:, None, :]


def test_iou_of_boxes_by_hand() -> None:
    first = np.array([[0, 0, 2, 2]], np.float32)
    second = np.array([[0, 1, 2, 3], [5, 5, 6, 6], [1, 1, 1, 1], [-2, -2, 2, 2]], np.float32)
    np.testing.assert_array_equal(box_iou(first, second), np.float32([[1 / 3, 0, 0, 1 / 4]]))


def test_a_region_counts_the_share_of_the_box_that_lies_in_it() -> None:
    boxes = np.array([[0, 0, 2, 2], [0, 0, 4, 8]], np.float32)
    overlaps = box_iou(boxes, np.array([[0, 0, 2, 4]] * 2, np.float32), np.array([True, False]))
    np.testing.assert_array_equal(overlaps, [[1, 1 / 2], [1 / 4, 1 / 4]])


def test_empty_and_inverted_boxes_have_no_area_and_overlap_nothing() -> None:
    boxes = np.array([[1, 1, 1, 3], [3, 3, 1, 1], [0, 0, 4, 4]], np.float32)
    with np.errstate(all="raise"):
        overlaps = box_iou(boxes, boxes, np.array([True, False, False]))
    np.testing.assert_array_equal(box_areas(boxes), [0, 0, 16])
    np.testing.assert_array_equal(overlaps, np.diag([0, 0, 1]))
    assert box_iou(boxes, np.zeros((0, 4), np.float32)).shape == (3, 0)


def test_iou_of_boxes_is_that_of_their_painted_cells() -> None:
    rng = np.random.default_rng(0)
    first, second = random_boxes(rng, 40), random_boxes(rng, 30)
    cells, others = paint(first)[:, None], paint(second)[None]
    both, either = ((op(cells, others)).sum(axis=(2, 3)) for op in (np.logical_and, np.logical_or))
    np.testing.assert_array_equal(box_areas(first), paint(first).sum(axis=(1, 2)))
    np.testing.assert_allclose(box_iou(first, second), both / np.maximum(either, 1), rtol=1e-6)


def test_regions_overlap_as_crowds_do_in_pycocotools() -> None:
    rng = np.random.default_rng(1)
    first, second = (
        np.concatenate([low := rng.uniform(0, 50, (n, 2)), low + rng.uniform(1, 50, (n, 2))], axis=1)
        for n in (20, 30)
    )
    is_region = rng.uniform(size=30) < 0.5
    xywh = [np.concatenate([b[:, 1::-1], (b[:, 2:] - b[:, :2])[:, ::-1]], axis=1) for b in (first, second)]
    expected = coco_mask.iou(*xywh, is_region.astype(np.uint8))
    np.testing.assert_allclose(box_iou(first, second, is_region), expected, rtol=1e-12)
    assert box_iou(first.astype(np.float32), second.astype(np.float32), is_region).dtype == np.float32


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


def test_truth_without_a_known_pixel_is_undefined_and_warns_of_nothing() -> None:
    nothing = confusion_matrix(np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8), 4)
    assert nothing.sum() == 0
    with np.errstate(all="raise"):
        assert mean_iou(nothing) is None


@pytest.mark.parametrize(("truth", "predicted"), [(0, 4), (4, 0), (255, 4), (255, 255)])
def test_class_beyond_the_last_is_an_error_and_never_another_cell(truth, predicted) -> None:
    with pytest.raises(AssertionError, match=r"class 4 of 4|class 255 of 4|beyond the 4"):
        confusion_matrix(np.full((1, 1), truth, np.uint8), np.full((1, 1), predicted, np.uint8), 4)
