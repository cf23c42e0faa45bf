"""Which example is at which position of a stream of batches: every example once an epoch, in a new order.

`repeat_factors` has orders in which some examples come more often.

Call `example_index`, or `interleave` for the shares of several sources. The order is a pure function of the
number of examples, the seed and the epoch.
"""

import functools
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

Permutation = Callable[[int, int, int], Int[np.ndarray, " length"]]
"""From (length, seed, epoch) to the indices at an epoch's `length` positions, in the epoch's order."""

_SAMPLING = 1  # third word of the seed: `label_fraction` draws from (seed, fold), which is (seed, fold, 0)


def raw_permutation(length: int, seed: int, epoch: int) -> Int[np.ndarray, " length"]:
    """Sort raw PCG64 output, which NumPy keeps the same on all platforms and in all versions.

    Equal numbers (two of n are equal with a probability of about n**2 / 2**65) stay in the order of their
    indices, so that the order is defined in any case.
    """
    bits = np.random.PCG64(np.random.SeedSequence((seed, epoch, _SAMPLING)))
    return np.argsort(bits.random_raw(length), kind="stable")


def generator_permutation(length: int, seed: int, epoch: int) -> Int[np.ndarray, " length"]:
    """Permute as runs did before `raw_permutation`, so that their folders resume with the order they began.

    NumPy may change what `Generator.permutation` returns from one version to the next.
    """
    return np.random.default_rng((seed, epoch)).permutation(length)


def example_index(
    position: int, length: int, seed: int, *, permutation: Permutation = raw_permutation
) -> int:
    """Return which example is at `position`: with `raw_permutation` each of `length` once an epoch."""
    epoch, offset = divmod(position, length)
    return int(_cached(permutation, length, seed, epoch)[offset])


class Slot(NamedTuple):
    """What is at a position of a stream of several sources."""

    source: int
    position: int  # among those of this source


def interleave(weights: Sequence[float]) -> Callable[[int], Slot]:
    """Return which of several sources is at a position of a stream, its share proportional to its weight.

    Of any n positions in a row the first source has floor or ceil of n times its share; of those left the
    second one has its share likewise, and so on. So a batch has exactly the shares where they are whole
    numbers of images, and any two batches differ by few images. Weights are taken as the decimals that they
    are written as.
    """
    left = [Fraction(repr(float(weight))) for weight in weights]
    shares = [weight / sum(left[index:]) for index, weight in enumerate(left[:-1])]

    def slot_at(position: int) -> Slot:
        for source, share in enumerate(shares):
            before = position * share.numerator // share.denominator
            if (position + 1) * share.numerator // share.denominator > before:
                return Slot(source, before)
            position -= before
        return Slot(len(shares), position)

    return slot_at


@functools.lru_cache(maxsize=32)  # of each source of a stream an epoch, or two at its end
def _cached(permutation: Permutation, length: int, seed: int, epoch: int) -> Int[np.ndarray, " length"]:
    return permutation(length, seed, epoch)
