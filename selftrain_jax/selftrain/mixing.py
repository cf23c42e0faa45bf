"""The student's batches of human- and pseudo-labelled images (Paper: half and half; Section 3.1, App. H)."""

import math
from contextlib import closing
from functools import partial

import jax
import numpy as np
from jaxtyping import Bool

from selftrain_jax.types import Batches, BatchStream


def mix_batches(human: Batches, pseudo: Batches) -> Batches:
    """Join two streams into one, the images in the order of `positions_of_pseudo`."""

    def stream(start_step: int) -> BatchStream:
        with closing(human(start_step)) as first, closing(pseudo(start_step)) as second:
            for (human_batch, human_ids), (pseudo_batch, pseudo_ids) in zip(first, second, strict=False):
                order = _order(len(human_ids), len(pseudo_ids))
                mixed = jax.tree.map(partial(_join, order), human_batch, pseudo_batch)
                ids = [*human_ids, *pseudo_ids]
                yield mixed, [ids[index] for index in order]

    return stream


def positions_of_pseudo(num_human: int, num_pseudo: int) -> Bool[np.ndarray, " B"]:
    """Mark where a batch has its pseudo-labelled images: spread evenly, a human-labelled one first.

    Every `period` images hold as many of the one as of the other kind, and so does every slice of the batch
    (a device's share, a microbatch) that is a multiple of it.
    """
    total = num_human + num_pseudo
    return np.diff(np.arange(total + 1) * num_pseudo // total) == 1


def period(num_human: int, num_pseudo: int) -> int:
    """Return after how many images the pattern of a batch repeats: 2 where it is half and half."""
    return (num_human + num_pseudo) // math.gcd(num_human, num_pseudo)


def _join(order: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.concatenate([first, second])[order]


def _order(num_human: int, num_pseudo: int) -> np.ndarray:
    """Return the index of each image of the batch among all human-labelled, then all others."""
    is_pseudo = positions_of_pseudo(num_human, num_pseudo)
    return np.argsort(np.argsort(is_pseudo, kind="stable"), kind="stable")
