"""What the manifest says of pseudo masks; call `count_masks`, then `mask_totals`."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from selftrain_jax.run_files.manifest import Histogram
from selftrain_jax.selftrain.manifest import HISTOGRAM_EDGES
from selftrain_jax.selftrain.quality import ratio
from selftrain_jax.tasks.segmentation.pseudo.source import NUM_LEVELS, confidence_levels
from selftrain_jax.tasks.segmentation.run_files import ClassPixels, Coverage, MaskSettings, MaskTotals
from selftrain_jax.types import Category, Example


class MaskCounts(NamedTuple):
    """Pixels over some images, by Category.id."""

    pixels: Int[np.ndarray, "K 256"]  # by class and confidence level
    at_threshold: Int[np.ndarray, " K"]
    images_without_pixels: int  # at the threshold


def count_pixels(
    mask: UInt8[np.ndarray, "H W"], confidence: UInt8[np.ndarray, "H W"], num_classes: int
) -> Int[np.ndarray, "K 256"]:
    """Count a pseudo mask's pixels by class and confidence level."""
    assert mask.max(initial=0) < num_classes, f"class {mask.max()} among {num_classes} classes"
    bins = mask.astype(np.int64) * NUM_LEVELS + confidence
    return np.bincount(bins.ravel(), minlength=num_classes * NUM_LEVELS).reshape(num_classes, NUM_LEVELS)


def count_masks(examples: Iterable[Example], thresholds: Float[np.ndarray, " K"]) -> MaskCounts:
    """Count pseudo masks; `thresholds` are by Category.id."""
    is_kept = np.arange(NUM_LEVELS) >= confidence_levels(thresholds)[:, None]
    pixels, num_empty = np.zeros(is_kept.shape, np.int64), 0
    for example in examples:
        of_image = count_pixels(example["mask"], example["confidence"], len(thresholds))
        pixels += of_image
        num_empty += not of_image[is_kept].any()
    return MaskCounts(pixels, (pixels * is_kept).sum(axis=1), num_empty)


def mask_totals(counts: MaskCounts, categories: Sequence[Category], settings: MaskSettings) -> MaskTotals:
    """Return what a manifest says of all masks."""
    pixels, at_threshold, num_empty = counts
    num_per_class, num_by_level = pixels.sum(axis=1), pixels.sum(axis=0)
    num_pixels = int(num_by_level.sum())
    from_level = np.append(num_by_level[::-1].cumsum()[::-1], 0)  # pixels of at least this level
    from_edge = from_level[confidence_levels(HISTOGRAM_EDGES)]
    edges = HISTOGRAM_EDGES.tolist()
    return MaskTotals(
        settings=settings,
        num_pixels=num_pixels,
        num_pixels_at_threshold=int(at_threshold.sum()),
        coverage=ratio(at_threshold.sum(), num_pixels),
        images_without_pixels_at_threshold=int(num_empty),
        per_class={
            name: ClassPixels(pixels=int(num_per_class[id]), pixels_at_threshold=int(at_threshold[id]))
            for id, name in categories
        },
        confidence_histogram=Histogram(edges=tuple(edges), counts=tuple((-np.diff(from_edge)).tolist())),
        coverage_by_threshold=Coverage(
            thresholds=tuple(edges[:-1]), coverage=tuple(ratio(kept, num_pixels) for kept in from_edge[:-1])
        ),
    )
