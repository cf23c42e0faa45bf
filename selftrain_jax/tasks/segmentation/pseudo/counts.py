"""What a manifest says of pseudo masks (Paper: Section 3.1): `count_masks` a shard, then `tally_masks`.

A pixel is kept by its level of confidence (`data.mask_confidence`).
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from selftrain_jax.selftrain.manifest import HISTOGRAM_EDGES
from selftrain_jax.selftrain.quality import ratio
from selftrain_jax.tasks.segmentation.pseudo.confidence import NUM_LEVELS, confidence_levels
from selftrain_jax.types import Category, Example


class MaskCounts(NamedTuple):
    """Pixels over the images of one shard, by Category.id."""

    pixels: Int[np.ndarray, "K 256"]  # by class and confidence level
    at_threshold: Int[np.ndarray, " K"]
    images_without_pixels: int  # at the threshold


def count_pixels(
    mask: UInt8[np.ndarray, "H W"], confidence: UInt8[np.ndarray, "H W"], num_classes: int
) -> Int[np.ndarray, "K 256"]:
    """Count a pseudo mask's pixels by class and confidence level."""
    assert mask.max(initial=0) < num_classes, f"class {mask.max()} among {num_classes} classes"
    places = mask.astype(np.int64) * NUM_LEVELS + confidence
    return np.bincount(places.ravel(), minlength=num_classes * NUM_LEVELS).reshape(num_classes, NUM_LEVELS)


def count_masks(examples: Iterable[Example], thresholds: Float[np.ndarray, " K"]) -> MaskCounts:
    """Count pseudo masks; `thresholds` are by Category.id."""
    is_kept = np.arange(NUM_LEVELS) >= confidence_levels(thresholds)[:, None]
    pixels, num_empty = np.zeros(is_kept.shape, np.int64), 0
    for example in examples:
        own = count_pixels(example["mask"], example["confidence"], len(thresholds))
        pixels += own
        num_empty += not own[is_kept].any()
    return MaskCounts(pixels, (pixels * is_kept).sum(axis=1), num_empty)


def tally_masks(counts: Sequence[MaskCounts], categories: Sequence[Category]) -> dict[str, Any]:
    """Add the shards up, as the manifest has it; coverage = pixels kept / all pixels, None without pixels."""
    pixels, at_threshold, num_empty = (np.sum(values, axis=0) for values in zip(*counts, strict=True))
    of_class, by_level = pixels.sum(axis=1), pixels.sum(axis=0)
    num_pixels = int(by_level.sum())
    from_level = np.append(by_level[::-1].cumsum()[::-1], 0)  # how many pixels have at least this level
    from_edge = from_level[confidence_levels(HISTOGRAM_EDGES)]
    return {
        "num_pixels": num_pixels,
        "num_pixels_at_threshold": int(at_threshold.sum()),
        "coverage": ratio(at_threshold.sum(), num_pixels),
        "images_without_pixels_at_threshold": int(num_empty),
        "per_class": {
            name: {"pixels": int(of_class[id]), "pixels_at_threshold": int(at_threshold[id])}
            for id, name in categories
        },
        "confidence_histogram": {"edges": HISTOGRAM_EDGES.tolist(), "counts": (-np.diff(from_edge)).tolist()},
        "coverage_by_threshold": {
            "thresholds": HISTOGRAM_EDGES[:-1].tolist(),
            "coverage": [ratio(kept, num_pixels) for kept in from_edge[:-1]],
        },
    }
