"""Which images are worth a look: the most and least confident, and those where two labellings disagree."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from selftrain_jax.geometry import box_iou
from selftrain_jax.html.galleries import spread
from selftrain_jax.types import Example

MAX_IMAGES_RANKED = 2000  # evenly spread over the source; reading more would take longer than it is worth


class Labelled(NamedTuple):
    """An image of a source by its position there, with its labels (no pixels)."""

    position: int
    example: Example


def read_spread(read_labels: Callable[[int], Example], length: int) -> list[Labelled]:
    """Read the labels of at most MAX_IMAGES_RANKED images."""
    return [Labelled(index, read_labels(index)) for index in spread(length, MAX_IMAGES_RANKED)]


def boxes_of(example: Example) -> Float[np.ndarray, "N 4"]:
    """Give the boxes, none where the example has no such key."""
    return np.asarray(example.get("boxes", np.zeros((0, 4))), dtype=np.float32).reshape(-1, 4)


def classes_of(example: Example) -> Int[np.ndarray, " N"]:
    """Give the class ids, none where the example has no such key."""
    return np.asarray(example.get("classes", np.zeros(0)), dtype=np.int64)


def is_kept(example: Example, threshold: float) -> Bool[np.ndarray, " N"]:
    """Say which boxes count as labels: score at the threshold or above, no crowd, not to be ignored."""
    count = len(boxes_of(example))
    kept = np.asarray(example.get("scores", np.ones(count))) >= threshold
    for key in ("is_crowd", "is_ignore"):
        kept = kept & ~np.asarray(example.get(key, np.zeros(count, dtype=bool)))
    return kept


def confidence(example: Example, threshold: float) -> float:
    """Average the scores of the labels; NaN without any."""
    scores = np.asarray(example.get("scores", []))[is_kept(example, threshold)]
    return float(scores.mean()) if len(scores) else float("nan")


def by_confidence(labelled: Sequence[Labelled], threshold: float) -> list[Labelled]:
    """Sort the images with at least one label, most confident first."""
    scored = [(confidence(image.example, threshold), image) for image in labelled]
    return [image for score, image in sorted((s for s in scored if s[0] == s[0]), key=lambda pair: -pair[0])]


def rarest_class(labelled: Sequence[Labelled], threshold: float) -> int | None:
    """Find the class with the fewest labels, of those with any."""
    kept = [classes_of(image.example)[is_kept(image.example, threshold)] for image in labelled]
    classes, counts = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *kept]), return_counts=True)
    return int(classes[np.argmin(counts)]) if len(classes) else None


def count_disagreements(first: Example, second: Example, threshold: float, iou: float = 0.5) -> int:
    """Count the labels of either side without a partner of the same class and IoU >= `iou` on the other.

    Each box has one partner at most; the pairs with the highest IoU go first.
    """
    sides = [
        (boxes_of(side)[is_kept(side, threshold)], classes_of(side)[is_kept(side, threshold)])
        for side in (first, second)
    ]
    (boxes, classes), (others, other_classes) = sides
    overlap = np.where(classes[:, None] == other_classes[None, :], box_iou(boxes, others), 0.0)
    pairs = 0
    while overlap.size and overlap.max() >= iou:
        row, column = np.unravel_index(np.argmax(overlap), overlap.shape)
        overlap[row, :], overlap[:, column] = 0.0, 0.0
        pairs += 1
    return len(boxes) + len(others) - 2 * pairs
