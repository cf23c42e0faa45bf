"""What boxes say of an image, worked out by hand."""

import numpy as np
import pytest

from configs import common
from selftrain_jax.tasks.detection.selection import draw_labels, score_boxes
from selftrain_jax.types import Category

CATEGORIES = (Category(1, "cat"), Category(3, "owl"))


def labels(scores, classes):
    boxes = np.array([[2, 2, 30, 30]] * len(scores), np.float32).reshape(-1, 4)
    return {
        "image_id": "a",
        "boxes": boxes,
        "scores": np.array(scores, np.float32),
        "classes": np.array(classes, np.int32),
        "is_pseudo": True,
    }


def test_uncertainty_is_the_sum_of_score_times_entropy_and_a_class_is_as_likely_as_its_best_box():
    found = score_boxes(labels([0.5, 0.25, 0.25], [1, 3, 1]), 4)
    quarter = 0.5 + 0.75 * np.log2(4 / 3)
    assert found.uncertainty == pytest.approx(0.5 * 1 + 2 * 0.25 * quarter)
    np.testing.assert_allclose(found.presence, [0, 0.5, 0, 0.25])


def test_image_without_boxes_is_certain_and_empty():
    found = score_boxes(labels([], []), 4)
    assert found.uncertainty == 0
    assert not found.presence.any()


def test_one_doubtful_box_counts_more_than_ten_at_the_floor_and_than_a_sure_one():
    doubtful = score_boxes(labels([0.6], [1]), 4).uncertainty
    assert doubtful > score_boxes(labels([0.05] * 10, [1] * 10), 4).uncertainty
    assert doubtful > score_boxes(labels([0.99], [1]), 4).uncertainty


def test_doubtful_boxes_are_drawn_dashed_and_those_near_the_floor_not_at_all():
    config, image = common.get_config(), np.zeros((64, 64, 3), np.uint8)

    def count_drawn(score: float) -> int:
        drawn = draw_labels(config, image, labels([score], [3]), CATEGORIES, 64)
        return int((drawn[22:] > 0).any(-1).sum())  # below the tab

    assert count_drawn(0.9) > count_drawn(0.4) > count_drawn(0.1) == 0
    config.pseudo.threshold = 0.05  # then it is a label
    assert count_drawn(0.1) == count_drawn(0.9)
