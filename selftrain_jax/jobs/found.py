"""What a network finds in an image, for Python: `Boxes` or a `ClassMap`."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from selftrain_jax.types import Example

LEVELS = 256  # of confidence in a record


class Boxes(NamedTuple):
    """The boxes in an image, the surest first."""

    boxes: Float[np.ndarray, "N 4"]  # ymin, xmin, ymax, xmax in the image's pixels
    scores: Float[np.ndarray, " N"]
    class_ids: Int[np.ndarray, " N"]
    class_names: tuple[str, ...]  # [N]

    def above(self, score: float) -> "Boxes":
        """Return the boxes of at least this score."""
        kept = np.flatnonzero(self.scores >= score)
        names = tuple(self.class_names[index] for index in kept)
        return Boxes(self.boxes[kept], self.scores[kept], self.class_ids[kept], names)


class ClassMap(NamedTuple):
    """The class of each pixel of an image."""

    class_ids: UInt8[np.ndarray, "H W"]
    scores: Float[np.ndarray, "H W"]  # the probability of that class, rounded down to 256ths
    class_names: Mapping[int, str]  # of all classes, by id


def describe_found(labels: Example, names: Mapping[int, str]) -> Boxes | ClassMap:
    """Name the classes of an image's labels, as a record has them."""
    if "boxes" in labels:
        ids = labels["classes"]
        order = np.argsort(-labels["scores"], kind="stable")
        found = tuple(names[int(ids[index])] for index in order)
        return Boxes(labels["boxes"][order], labels["scores"][order], ids[order], found)
    return ClassMap(labels["mask"], labels["confidence"].astype(np.float32) / LEVELS, dict(names))
