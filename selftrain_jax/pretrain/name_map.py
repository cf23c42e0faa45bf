"""How a weight file names and lays out its arrays, against how we do; start at `Slot`.

Paper: section 3.2 starts its detectors from published checkpoints.
"""

from typing import Literal, NamedTuple

import numpy as np

Collection = Literal["params", "batch_stats"]
Transform = Literal["none", "depthwise", "conv_torch", "dense_torch", "depthwise_torch"]


class Slot(NamedTuple):
    """The place of one array in our variables, and what turns the file's layout into ours."""

    collection: Collection
    path: tuple[str, ...]
    transform: Transform = "none"

    def __str__(self) -> str:
        return "/".join((self.collection, *self.path))


NameMap = dict[str, Slot]
"""From the names of a file to our slots."""

AXES: dict[Transform, tuple[int, ...]] = {
    "depthwise": (0, 1, 3, 2),  # TensorFlow's (k, k, C, 1) to (k, k, 1, C)
    "conv_torch": (2, 3, 1, 0),  # OIHW to HWIO
    "dense_torch": (1, 0),  # (out, in) to (in, out)
    "depthwise_torch": (2, 3, 1, 0),  # (C, 1, k, k) to (k, k, 1, C)
}
"""For each of our axes, the file's axis it comes from."""


def from_file(array: np.ndarray, transform: Transform) -> np.ndarray:
    """Bring an array from the file's layout into ours."""
    return array if transform == "none" else np.transpose(array, AXES[transform])


def to_file(array: np.ndarray, transform: Transform) -> np.ndarray:
    """Undo `from_file`."""
    return array if transform == "none" else np.transpose(array, np.argsort(AXES[transform]))


def file_shape(shape: tuple[int, ...], transform: Transform) -> tuple[int, ...]:
    """Return the shape in the file of an array that has `shape` with us."""
    return shape if transform == "none" else tuple(shape[axis] for axis in np.argsort(AXES[transform]))
