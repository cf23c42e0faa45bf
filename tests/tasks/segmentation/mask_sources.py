"""Small sources of masks, some of them bad, in memory."""

import numpy as np

from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.types import Category, Example

NAMES = ("ground", "cat", "dog")


def make_source(*masks: np.ndarray | None, reads: list[int] | None = None) -> Source:
    """A source of masks; None stands for one that is bad."""

    def read_labels(index: int) -> Example:
        if reads is not None:
            reads.append(index)
        if masks[index] is None:
            raise InputError(f"{index}.png is bad")
        return {"image_id": str(index), "mask": masks[index]}

    def read_image(index: int) -> np.ndarray:
        shape = (4, 4) if masks[index] is None else masks[index].shape
        return np.random.default_rng(index).integers(0, 256, (*shape, 3)).astype(np.uint8)

    categories = tuple(Category(number, name) for number, name in enumerate(NAMES))
    return Source(
        "toys", categories, tuple(map(str, range(len(masks)))), read_labels, lambda _: b"", read_image
    )


def filled(*values: int) -> np.ndarray:
    return np.resize(np.array(values, np.uint8), (4, 4))
