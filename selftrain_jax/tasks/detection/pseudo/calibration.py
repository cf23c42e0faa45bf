"""How often boxes are right from each score on, on images whose truth is known; call `count_right_boxes`."""

from collections.abc import Iterable, Sequence

import numpy as np

from selftrain_jax.run_files.calibration import ClassCurve
from selftrain_jax.selftrain.calibration import CUTS, Counted
from selftrain_jax.tasks.detection.pseudo.quality import Judged, judge_all
from selftrain_jax.tasks.detection.run_files import BoxSettings
from selftrain_jax.types import Category, Example

IOUS = (0.5, 0.75)


def count_right_boxes(
    pairs: Iterable[tuple[Example, Example]], categories: Sequence[Category], settings: BoxSettings
) -> Counted:
    """Count boxes and right ones of (truth, found) labels, at IoU 0.5 and 0.75; each box is a trial.

    Cuts begin at the score floor, since nothing is known of boxes below it.
    """
    images = list(pairs)
    floor = round(float(settings.score_floor), 6)
    cuts = np.concatenate([[floor], CUTS[floor < CUTS]])
    num_classes = 1 + max(category.id for category in categories)
    judged = {f"IoU {iou:g}": judge_all(images, num_classes, iou) for iou in IOUS}
    curves = {
        key: {name: _count(boxes, class_id, cuts) for class_id, name in categories}
        for key, boxes in judged.items()
    }
    return Counted("boxes", "boxes", False, cuts, curves)


def _count(judged: Judged, class_id: int, cuts: np.ndarray) -> ClassCurve:
    is_class = judged.classes == class_id
    scores, is_true = judged.scores[is_class], judged.is_true[is_class]
    num_labels, num_right = (
        _count_from(values, cuts.astype(np.float32)) for values in (scores, scores[is_true])
    )
    return ClassCurve(
        num_truth=int(judged.num_truth[class_id]),
        num_labels=num_labels,
        num_right=num_right,
        num_trials=num_labels,
    )


def _count_from(scores: np.ndarray, cuts: np.ndarray) -> tuple[int, ...]:
    return tuple((len(scores) - np.searchsorted(np.sort(scores), cuts)).tolist())
