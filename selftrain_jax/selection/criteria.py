"""What makes an unlabelled image worth a person's time, in numbers; call `class_weights` and `to_ranks`.

How uncertain a teacher is about an image is for its task to say (`tasks/<task>/selection.py`). Not in the
paper, which takes its labelled images as given.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

CRITERIA = ("uncertainty", "rarity", "diversity")
RANDOM = "random"  # instead of criteria: what they are to be compared with
MIN_FREQUENCY = 0.001  # a class that is rarer, or has no label yet, counts as one of this frequency


class LabelScores(NamedTuple):
    """What a teacher's labels of one image say of it."""

    uncertainty: float
    # By Category.id: of boxes how likely the class occurs, of masks its share of the pixels.
    presence: Float[np.ndarray, " K"]


def binary_entropy(p: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Return -p log2 p - (1 - p) log2 (1 - p) in bits: 1 at p = 0.5, 0 at p = 0 and p = 1."""
    p = np.asarray(p, np.float64)
    terms = [q * np.log2(q, out=np.zeros_like(q), where=q > 0) for q in (p, 1 - p)]
    return -(terms[0] + terms[1])


def class_weights(counts: Float[np.ndarray, " K"]) -> Float[np.ndarray, " K"]:
    """Return 1 / f for each class, where f is its share of the human labels, at least MIN_FREQUENCY."""
    return 1 / np.maximum(counts / max(counts.sum(), 1), MIN_FREQUENCY)


def to_ranks(scores: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """Return the share of the other images that score lower, of equals half: 0 to 1.

    Criteria have different units; ranks can be averaged.
    """
    values, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    below = np.concatenate([[0], counts.cumsum()[:-1]]) if len(values) else np.zeros(0)
    ranks = below + (counts - 1) / 2
    return ranks[inverse] / max(len(scores) - 1, 1)
