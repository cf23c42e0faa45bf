"""Top-1 and top-5 accuracy over a data set; add `count_hits` of its batches up with `accuracy`."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float, Int

TOP = (1, 5)


def count_hits(scores: Float[np.ndarray, "B K"], classes: Int[np.ndarray, " B"]) -> Int[np.ndarray, " 3"]:
    """Count the images whose class is the best, and among the best five, and the images; class -1 is none.

    A class of equal score counts as ahead, so that a network that says the same to all classes has 0 hits.
    """
    is_known = classes >= 0
    own = np.take_along_axis(scores, np.maximum(classes, 0)[:, None], axis=1)
    num_ahead = (scores >= own).sum(axis=1) - 1
    hits = [_count(is_known & (num_ahead < top)) for top in TOP]
    return np.array([*hits, _count(is_known)])


def accuracy(counts: Iterable[Int[np.ndarray, " 3"]]) -> dict[str, float]:
    """Return top1, top5 (shares) and num_images over all batches."""
    *hits, num_images = np.sum(list(counts), axis=0)
    shares = {f"top{top}": float(hit) / max(int(num_images), 1) for top, hit in zip(TOP, hits, strict=True)}
    return {**shares, "num_images": int(num_images)}


def _count(chosen: Bool[np.ndarray, " B"]) -> int:
    return int(chosen.sum())
