"""What a model's mask says of an unlabelled image, for `--job=select`: `score_mask`, `draw_labels`."""

import numpy as np
from jaxtyping import UInt8
from ml_collections import ConfigDict

from selftrain_jax.selection.criteria import LabelScores
from selftrain_jax.selftrain.checks import class_thresholds
from selftrain_jax.tasks.config_values import class_thresholds_by_name
from selftrain_jax.tasks.segmentation.draw import fit_mask, overlay
from selftrain_jax.tasks.segmentation.pseudo.source import NUM_LEVELS, confidence_levels, mask_low_confidence
from selftrain_jax.types import Category, Example


def score_mask(labels: Example, num_classes: int) -> LabelScores:
    """Score an image by its pixels; the confidence of a level q is (q + 0.5) / 256.

    Uncertainty is 1 - the mean confidence (least confidence, over pixels). A class is present as Σ confidence
    of its pixels / all pixels.

    Reference: least confidence: Settles, "Active learning literature survey", 2009.
    """
    confidence = (labels["confidence"].ravel() + 0.5) / NUM_LEVELS
    sums = np.bincount(labels["mask"].ravel(), confidence, num_classes)
    return LabelScores(float(1 - confidence.mean()), sums / confidence.size)


def draw_labels(
    config: ConfigDict,
    image: UInt8[np.ndarray, "H W 3"],
    labels: Example,
    categories: tuple[Category, ...],
    side_px: int,
) -> UInt8[np.ndarray, "h w 3"]:
    """Tint the image by class, hatched below config.pseudo's thresholds."""
    thresholds = class_thresholds(categories, config.pseudo.threshold, class_thresholds_by_name(config))
    kept = mask_low_confidence(labels["mask"], labels["confidence"], confidence_levels(thresholds))
    names = {id: name for id, name in categories if name.lower() != "background"}
    fitted, mask = fit_mask(image, kept, side_px)
    return overlay(fitted, mask, names=names)
