"""Mean IoU, what the paper's segmentation tables give, from one matrix of counts; call `confusion_matrix`.

Add the matrices of all images up and hand the sum to `summarise_confusion`: no image stays in memory.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from selftrain_jax.types import IGNORED, Category


def confusion_matrix(
    truth: UInt8[np.ndarray, "*pixels"], predicted: UInt8[np.ndarray, "*pixels"], num_classes: int
) -> Int[np.ndarray, "K K"]:
    """Count the pixels of each true class (row) by what they were taken for (column), less IGNORED ones."""
    assert truth.shape == predicted.shape, f"{truth.shape} of truth, {predicted.shape} predicted"
    assert predicted.max(initial=0) < num_classes, f"class {predicted.max()} of {num_classes} predicted"
    pairs = truth.astype(np.intp) * num_classes + predicted
    counts = np.bincount(pairs.ravel(), minlength=(IGNORED + 1) * num_classes).reshape(-1, num_classes)
    assert not counts[num_classes:IGNORED].any(), f"the truth has classes beyond the {num_classes}"
    return counts[:num_classes].astype(np.int64)


def iou_by_class(confusion: Int[np.ndarray, "K K"]) -> Float[np.ndarray, " K"]:
    """Divide what is rightly of a class by all that is or was taken for it; NaN where there is none of it."""
    right = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - right
    return np.divide(right, union, out=np.full(len(right), np.nan), where=union > 0)


def mean_iou(confusion: Int[np.ndarray, "K K"]) -> float:
    """Average the IoU of the classes that occur in the truth or the prediction; NaN if none does.

    The background is a class like the others.
    """
    iou = iou_by_class(confusion)
    occurring = iou[~np.isnan(iou)]
    return float(occurring.mean()) if occurring.size else float("nan")


def summarise_confusion(confusion: Int[np.ndarray, "K K"], categories: Sequence[Category]) -> dict[str, Any]:
    """Return miou, pixel_accuracy, each class's iou and true pixels by name, and the matrix; for JSON.

    -1 where a number is undefined, as in COCO's: a class that does not occur, or no pixel at all.
    """
    num_classes = max(category.id for category in categories) + 1
    assert len(confusion) == num_classes, f"{len(confusion)} classes counted, {num_classes} in the categories"
    iou, num_true, num_pixels = iou_by_class(confusion), confusion.sum(axis=1), confusion.sum()
    return {
        "miou": _or_undefined(mean_iou(confusion)),
        "pixel_accuracy": float(np.trace(confusion) / num_pixels) if num_pixels else -1.0,
        "per_class": {
            name: {"iou": _or_undefined(iou[id]), "num_pixels": int(num_true[id])} for id, name in categories
        },
        "confusion": confusion.tolist(),
    }


def _or_undefined(value: float) -> float:
    return -1.0 if np.isnan(value) else float(value)
