"""What several models' boxes count when they are merged: by class, how precise each is on val."""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float, Int

from selftrain_jax.tasks.detection.pseudo.quality import judge_all
from selftrain_jax.types import Category, Example

PRIOR_BOXES = 2.0  # sum of scores that a class's precision is drawn to the model's own by


def measure_weights(
    pairs: Iterable[tuple[Example, Example]], categories: Sequence[Category], iou: float = 0.5
) -> Float[np.ndarray, " K"]:
    """Return the precision of each class of (truth, found) labels, each box counted by its score.

    w_c = (sum of s over right boxes of c + n · p) / (sum of s over boxes of c + n), where p is the same over
    all classes with n = 0 and n = PRIOR_BOXES: a class with few boxes on val gets nearly p. It needs no
    threshold, so that moving config.pseudo.threshold changes no label. By Category.id; 1 without any box.
    """
    num_classes = 1 + max(category.id for category in categories)
    judged = judge_all(pairs, num_classes, iou)
    total = np.bincount(judged.classes, judged.scores, num_classes)
    right = np.bincount(judged.classes, judged.scores * judged.is_true, num_classes)
    if not total.sum():
        return np.ones(num_classes)
    overall = right.sum() / total.sum()
    return (right + PRIOR_BOXES * overall) / (total + PRIOR_BOXES)


def weigh_scores(
    scores: Float[np.ndarray, " N"],
    classes: Int[np.ndarray, " N"],
    models: Int[np.ndarray, " N"],
    weights: Float[np.ndarray, "T K"],
) -> Float[np.ndarray, " N"]:
    """Scale scores so that `fuse_boxes` merges T models by their weights.

    s · w_tc · T / sum over t of w_tc: its fused score, mean(s) · min(N, T) / T, then is the reference's
    sum(w s) / N · min(N, T) / sum(w), and its fused box the mean by w · s. Equal weights change nothing. A
    class that all models have weight 0 for keeps its scores.
    """
    total = weights.sum(axis=0)
    factor = np.where(total > 0, weights * len(weights) / np.where(total > 0, total, 1), 1.0)
    return scores * factor[models, classes]
