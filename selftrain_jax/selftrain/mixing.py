"""The student's batches: half human, half pseudo (Paper: Section 3.1, Appendix H)."""

from contextlib import closing

import jax
import numpy as np

from selftrain_jax.types import Batches, BatchStream


def mix_batches(human: Batches, pseudo: Batches) -> Batches:
    """Join two streams of equal batch size into one of twice the size.

    The images alternate, human first, so that every even slice of the batch (a device's share,
    a microbatch) holds as many of the one as of the other.
    """

    def stream(start_step: int) -> BatchStream:
        with closing(human(start_step)) as first, closing(pseudo(start_step)) as second:
            for (human_batch, human_ids), (pseudo_batch, pseudo_ids) in zip(first, second, strict=False):
                mixed = jax.tree.map(_alternate, human_batch, pseudo_batch)
                yield mixed, [id for pair in zip(human_ids, pseudo_ids, strict=True) for id in pair]

    return stream


def _alternate(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.stack([first, second], axis=1).reshape(-1, *first.shape[1:])
