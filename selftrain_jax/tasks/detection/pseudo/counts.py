"""What a manifest says of pseudo boxes (Paper: Section 3.1): `count_boxes` a shard, then `tally_boxes`."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from selftrain_jax.selftrain.manifest import HISTOGRAM_EDGES
from selftrain_jax.types import Category, Example


class BoxCounts(NamedTuple):
    """Counts over the images of one shard; arrays by class are indexed by Category.id."""

    at_floor: np.ndarray  # [K]
    at_threshold: np.ndarray  # [K]
    images_without_boxes: int  # at the threshold
    by_score: np.ndarray  # [20]


def count_boxes(examples: Iterable[Example], thresholds: np.ndarray) -> BoxCounts:
    """Count pseudo boxes; `thresholds` are by Category.id."""
    at_floor, at_threshold = np.zeros((2, len(thresholds)), np.int64)
    by_score = np.zeros(len(HISTOGRAM_EDGES) - 1, np.int64)
    num_empty = 0
    for example in examples:
        scores, classes = example["scores"], example["classes"]
        kept = scores >= thresholds[classes]
        at_floor += np.bincount(classes, minlength=len(thresholds))
        at_threshold += np.bincount(classes[kept], minlength=len(thresholds))
        by_score += np.histogram(scores, HISTOGRAM_EDGES)[0]
        num_empty += not kept.any()
    return BoxCounts(at_floor, at_threshold, num_empty, by_score)


def tally_boxes(counts: Sequence[BoxCounts], categories: Sequence[Category]) -> dict[str, Any]:
    """Add the shards up, as the manifest has it."""
    at_floor, at_threshold, num_empty, by_score = (
        np.sum(values, axis=0) for values in zip(*counts, strict=True)
    )
    return {
        "num_boxes": int(at_floor.sum()),
        "num_boxes_at_threshold": int(at_threshold.sum()),
        "images_without_boxes_at_threshold": int(num_empty),
        "per_class": {
            name: {"boxes_at_floor": int(at_floor[id]), "boxes_at_threshold": int(at_threshold[id])}
            for id, name in categories
        },
        "score_histogram": {"edges": HISTOGRAM_EDGES.tolist(), "counts": by_score.tolist()},
    }
