"""Which masks are worth a look: of low confidence, with the rarest class, and wrong ones.

Call `summarise_pseudo_masks`; it keeps a few numbers of an image, never its mask.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from selftrain_jax.data.source import Source
from selftrain_jax.html.galleries import spread
from selftrain_jax.tasks.segmentation.pseudo.confidence import mask_low_confidence
from selftrain_jax.types import IGNORED, Example

MAX_MASKS_RANKED = 400  # evenly spread over the source; two PNG are decoded for each


class MaskSummary(NamedTuple):
    """What there is to say of an image's pseudo mask."""

    position: int  # in its source
    coverage: float  # share of pixels kept
    confidence: float  # mean of all pixels, 0 to 1
    kept: Int[np.ndarray, "256"]  # pixels by class
    precision: float  # share of kept pixels that is right; NaN where the truth is not known


def confident_mask(labels: Example, levels: Int[np.ndarray, "256"]) -> UInt8[np.ndarray, "H W"]:
    """Ignore a pseudo mask's pixels of low confidence; keep a mask without confidence, as people draw it."""
    mask = labels["mask"]
    return mask_low_confidence(mask, labels["confidence"], levels) if "confidence" in labels else mask


def right_share(mask: UInt8[np.ndarray, "H W"], truth: UInt8[np.ndarray, "H W"]) -> float:
    """Divide the pixels that are right by those that are kept and of known truth; NaN without any."""
    counted = (mask != IGNORED) & (truth != IGNORED)
    return float((mask == truth)[counted].mean()) if counted.any() else float("nan")


def summarise_pseudo_masks(
    source: Source, truth: Callable[[str], Example] | None, levels: Int[np.ndarray, "256"]
) -> list[MaskSummary]:
    """Read at most MAX_MASKS_RANKED pseudo masks, spread through the source, and sum each up."""
    return [_summarise(source, index, truth, levels) for index in spread(len(source), MAX_MASKS_RANKED)]


def rarest_class(summaries: list[MaskSummary]) -> int | None:
    """Find the class with the fewest pixels kept, of those with any."""
    total = np.sum([summary.kept for summary in summaries], axis=0) if summaries else np.zeros(256)
    found = np.flatnonzero(total)
    return int(found[np.argmin(total[found])]) if len(found) else None


def nearest_to_median(gains: Mapping[str, float], count: int) -> list[str]:
    """Pick the images whose gain is nearest to the median of all."""
    median = float(np.median(list(gains.values()))) if gains else 0.0
    return sorted(gains, key=lambda image_id: abs(gains[image_id] - median))[:count]


def _summarise(
    source: Source, index: int, truth: Callable[[str], Example] | None, levels: Int[np.ndarray, "256"]
) -> MaskSummary:
    labels = source.read_labels(index)
    mask = confident_mask(labels, levels)
    known = {} if truth is None else truth(source.image_ids[index])
    kept = np.bincount(mask[mask != IGNORED], minlength=256)
    confidence = float(labels["confidence"].mean() + 0.5) / 256 if "confidence" in labels else float("nan")
    precision = right_share(mask, known["mask"]) if "mask" in known else float("nan")
    return MaskSummary(index, float(kept.sum() / mask.size), confidence, kept, precision)
