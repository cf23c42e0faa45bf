"""Which pixels of a pseudo mask have enough confidence to be kept (Paper: Section 3.1, threshold 0.5).

The confidence p of a pixel is stored as the level q = min(floor(256 p), 255). `confidence_levels` turns
thresholds into levels. Counts, training and pictures all use it, so that they agree. Call
`mask_low_confidence` with the levels.
"""

import numpy as np
from jaxtyping import Float, Int, UInt8

from selftrain_jax.types import IGNORED

NUM_LEVELS = 256


def confidence_levels(thresholds: Float[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
    """Return the least level that each threshold keeps: q >= ceil(256 t).

    Exact for multiples of 1/256, such as 0.5; else pixels of t <= p < ceil(256 t) / 256 are lost. Above
    255/256 nothing is kept.
    """
    return np.ceil(NUM_LEVELS * thresholds).astype(np.int64)


def mask_low_confidence(
    mask: UInt8[np.ndarray, "H W"], confidence: UInt8[np.ndarray, "H W"], levels: Int[np.ndarray, " K"]
) -> UInt8[np.ndarray, "H W"]:
    """Set pixels to IGNORED where the confidence is below the level of their class, by Category.id."""
    return np.where(confidence >= levels[mask], mask, np.uint8(IGNORED))
