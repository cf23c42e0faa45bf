"""What host code measures of boxes and masks, in numpy: areas, overlaps, confusion matrices, mean IoU.

Boxes are yxyx in any one unit. The confusion matrices of images add up to that of the set, so that no image
stays in memory.
"""

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from selftrain_jax.types import IGNORED


def box_areas(boxes: Float[np.ndarray, "N 4"]) -> Float[np.ndarray, " N"]:
    """Return height · width, 0 for boxes turned inside out."""
    return np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=-1)


def box_iou(
    first: Float[np.ndarray, "N 4"],
    second: Float[np.ndarray, "M 4"],
    is_region: Bool[np.ndarray, " M"] | None = None,
) -> Float[np.ndarray, "N M"]:
    """Divide intersection by union for every pair of boxes; 0 where the union is empty.

    Where `is_region`, the second box is a region of many objects (a crowd): the intersection is divided by
    the area of the first box alone, as COCO does.
    """
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    intersection = np.prod(np.maximum(high - low, 0), axis=-1)
    own_area = box_areas(first)[:, None]
    union = own_area + box_areas(second)[None, :] - intersection
    divisor = union if is_region is None else np.where(is_region, own_area, union)
    return intersection / np.where(divisor > 0, divisor, 1)


def confusion_matrix(
    truth: UInt8[np.ndarray, "*pixels"], predicted: UInt8[np.ndarray, "*pixels"], num_classes: int
) -> Int[np.ndarray, "K K"]:
    """Count the pixels by true (row) and predicted class (column), less those whose truth is IGNORED."""
    assert truth.shape == predicted.shape, f"{truth.shape} of truth, {predicted.shape} predicted"
    assert predicted.max(initial=0) < num_classes, f"class {predicted.max()} of {num_classes} predicted"
    pairs = truth.astype(np.intp) * num_classes + predicted
    counts = np.bincount(pairs.ravel(), minlength=(IGNORED + 1) * num_classes).reshape(-1, num_classes)
    assert not counts[num_classes:IGNORED].any(), f"the truth has classes beyond the {num_classes}"
    return counts[:num_classes].astype(np.int64)


def iou_by_class(confusion: Int[np.ndarray, "K K"]) -> Float[np.ndarray, " K"]:
    """Divide each class's correct pixels by those of it in either mask; NaN where there are none."""
    correct = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - correct
    return np.divide(correct, union, out=np.full(len(correct), np.nan), where=union > 0)


def mean_iou(confusion: Int[np.ndarray, "K K"]) -> float | None:
    """Average the IoU of the classes that occur in the truth or the prediction; None if none does.

    The background is a class like the others.
    """
    iou = iou_by_class(confusion)
    occurring = iou[~np.isnan(iou)]
    return float(occurring.mean()) if occurring.size else None
