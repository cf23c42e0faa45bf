"""What a model's boxes say of an unlabelled image, for `--job=select`: `score_boxes`, `draw_labels`."""

import numpy as np
from jaxtyping import UInt8
from ml_collections import ConfigDict

from selftrain_jax.html.draw import class_color, draw_boxes, fit_image
from selftrain_jax.selection.criteria import LabelScores, binary_entropy
from selftrain_jax.types import Category, Example

SHOWN_SCORE = 0.25  # boxes below it are not drawn, unless they are labels
MAX_SHOWN = 30


def score_boxes(labels: Example, num_classes: int) -> LabelScores:
    """Score an image by its boxes, from the floor of the records on.

    Uncertainty is Σ p h(p) over the boxes, where p is a box's score and h its binary entropy: a box stands
    for an object with probability p, so that is the expected uncertainty of all objects. It is largest for a
    box of p = 0.70, and many boxes near the floor, of which every image has some, count little. A class is
    present as likely as its best box says.

    Reference: entropies summed over the boxes of an image: Brust et al., "Active learning for deep object
    detection", VISAPP 2019; Roy et al., "Deep active learning for object detection", BMVC 2018. The weight p
    is ours.
    """
    scores = labels["scores"].astype(np.float64)
    presence = np.zeros(num_classes)
    np.maximum.at(presence, labels["classes"], scores)
    return LabelScores(float((scores * binary_entropy(scores)).sum()), presence)


def draw_labels(
    config: ConfigDict,
    image: UInt8[np.ndarray, "H W 3"],
    labels: Example,
    categories: tuple[Category, ...],
    side_px: int,
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw the best boxes with class and score, those below config.pseudo.threshold dashed."""
    threshold, names = config.pseudo.threshold, dict(categories)
    is_shown = labels["scores"] >= min(threshold, SHOWN_SCORE)
    kept = np.flatnonzero(is_shown)[np.argsort(-labels["scores"][is_shown], kind="stable")][:MAX_SHOWN]
    classes, scores = labels["classes"][kept].tolist(), labels["scores"][kept].tolist()
    fitted, boxes = fit_image(image, labels["boxes"][kept], side_px)
    return draw_boxes(
        fitted,
        boxes,
        [f"{names[id]} {score:.2f}" for id, score in zip(classes, scores, strict=True)],
        [class_color(id) for id in classes],
        dashed=[score < threshold for score in scores],
    )
