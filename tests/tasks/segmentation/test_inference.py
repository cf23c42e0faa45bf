"""The numbers that sum up a segmenter's evaluation, by hand."""

import json

import numpy as np

from selftrain_jax.tasks.segmentation.inference import summarise_confusion
from selftrain_jax.types import Category

BY_HAND = np.array([[1, 1, 0, 0], [0, 2, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]])  # rows truth, columns predicted
CATEGORIES = [Category(id, name) for id, name in enumerate(("background", "cat", "dog", "cow"))]


def test_summary_by_hand_holds_only_json() -> None:
    found = summarise_confusion(BY_HAND, CATEGORIES)
    assert json.loads(json.dumps(found)) == {
        "miou": (1 / 3 + 1 / 2) / 3,
        "pixel_accuracy": 3 / 6,
        "per_class": {
            "background": {"iou": 1 / 3, "num_pixels": 2},
            "cat": {"iou": 0.5, "num_pixels": 3},
            "dog": {"iou": 0.0, "num_pixels": 1},
            "cow": {"iou": -1.0, "num_pixels": 0},
        },
        "confusion": BY_HAND.tolist(),
    }


def test_summary_of_no_pixel_is_minus_one_and_warns_of_nothing() -> None:
    with np.errstate(all="raise"):
        found = summarise_confusion(np.zeros((4, 4), np.int64), CATEGORIES)
    assert (found["miou"], found["pixel_accuracy"]) == (-1.0, -1.0)
