"""From the names and layouts of a weight file's arrays to ours; start at `Slot`."""

from typing import Literal, NamedTuple

import numpy as np

Collection = Literal["params", "batch_stats"]
Transform = Literal["none", "depthwise", "conv_torch", "dense_torch", "depthwise_torch"]


class Slot(NamedTuple):
    """The path of one array in our variables, and the transform from the file's layout to ours."""

    collection: Collection
    path: tuple[str, ...]
    transform: Transform = "none"

    def __str__(self) -> str:
        return "/".join((self.collection, *self.path))


NameMap = dict[str, Slot]
"""From a file's names to our slots."""

AXES: dict[Transform, tuple[int, ...]] = {
    "depthwise": (0, 1, 3, 2),  # TensorFlow's (k, k, C, 1) to (k, k, 1, C)
    "conv_torch": (2, 3, 1, 0),  # OIHW to HWIO
    "dense_torch": (1, 0),  # (out, in) to (in, out)
    "depthwise_torch": (2, 3, 1, 0),  # (C, 1, k, k) to (k, k, 1, C)
}
"""For each of our axes, the axis in the file."""


def from_file(array: np.ndarray, transform: Transform) -> np.ndarray:
    """Transpose an array from the file's layout to ours."""
    return array if transform == "none" else np.transpose(array, AXES[transform])


def to_file(array: np.ndarray, transform: Transform) -> np.ndarray:
    """Transpose an array from our layout to the file's."""
    return array if transform == "none" else np.transpose(array, np.argsort(AXES[transform]))


def file_shape(shape: tuple[int, ...], transform: Transform) -> tuple[int, ...]:
    """Return the shape in the file of an array with our `shape`."""
    return shape if transform == "none" else tuple(shape[axis] for axis in np.argsort(AXES[transform]))
