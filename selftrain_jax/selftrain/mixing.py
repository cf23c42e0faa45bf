"""The student's batches: half human, half pseudo (Paper: Section 3.1, Appendix H)."""

from collections.abc import Iterator

import jax
import numpy as np

from selftrain_jax.types import Batch, Batches


def mix_batches(human: Batches, pseudo: Batches) -> Batches:
    """Join two streams of equal batch size into one of twice the size.

    The images alternate, human first, so that every even slice of the batch (a device's share,
    a microbatch) holds as many of the one as of the other.
    """

    def stream(start_step: int) -> Iterator[tuple[Batch, list[str]]]:
        for (human_batch, human_ids), (pseudo_batch, pseudo_ids) in zip(
            human(start_step), pseudo(start_step), strict=False
        ):
            mixed = jax.tree.map(_alternate, human_batch, pseudo_batch)
            yield mixed, [image_id for pair in zip(human_ids, pseudo_ids, strict=True) for image_id in pair]

    return stream


def _alternate(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.stack([first, second], axis=1).reshape(-1, *first.shape[1:])
