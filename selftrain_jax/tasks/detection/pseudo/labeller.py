"""The teacher as it labels with boxes, and what the manifest counts of them; call `box_labeller`."""

import functools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from selftrain_jax.data.source import Source
from selftrain_jax.run_files.manifest import Histogram
from selftrain_jax.selftrain.label_job import Labeller
from selftrain_jax.selftrain.manifest import HISTOGRAM_EDGES
from selftrain_jax.tasks.detection.pseudo.inference import Network, infer_images
from selftrain_jax.tasks.detection.run_files import BoxSettings, BoxTotals, ClassBoxes
from selftrain_jax.types import Category, Example


class BoxCounts(NamedTuple):
    """Counts over the images of one shard; arrays by class are indexed by Category.id."""

    at_floor: np.ndarray  # [K]
    at_threshold: np.ndarray  # [K]
    images_without_boxes: int  # at the threshold
    by_score: np.ndarray  # [20]


def box_labeller(source: Source, network: Network, *, num_threads: int = 8) -> Labeller:
    """Label with boxes of score >= `network.score_floor`."""
    return Labeller(
        infer=functools.partial(infer_images, source=source, network=network, num_threads=num_threads),
        batch_size=network.batch_size,
        settings=BoxSettings(score_floor=network.score_floor, image_size_px=network.image_size_px),
        totals=BoxTotals,
        count_shard=count_boxes,
        sum_counts=sum_box_counts,
    )


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


def sum_box_counts(
    counts: Sequence[BoxCounts], categories: Sequence[Category], settings: BoxSettings
) -> BoxTotals:
    """Add up the counts of all shards."""
    at_floor, at_threshold, num_empty, by_score = (
        np.sum(values, axis=0) for values in zip(*counts, strict=True)
    )
    return BoxTotals(
        settings=settings,
        num_boxes=int(at_floor.sum()),
        num_boxes_at_threshold=int(at_threshold.sum()),
        images_without_boxes_at_threshold=int(num_empty),
        per_class={
            name: ClassBoxes(boxes_at_floor=int(at_floor[id]), boxes_at_threshold=int(at_threshold[id]))
            for id, name in categories
        },
        score_histogram=Histogram(edges=tuple(HISTOGRAM_EDGES.tolist()), counts=tuple(by_score.tolist())),
    )
