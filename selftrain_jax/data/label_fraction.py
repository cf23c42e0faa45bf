"""Which images count as labelled: the small-data experiments (paper section 3.1, Tables 3 and 7).

Call `label_fraction`, then `source.subset` with each part.
"""

import math

import numpy as np
from jaxtyping import Int

from selftrain_jax.errors import InputError


def label_fraction(
    num_examples: int, percent: int | float, *, seed: int, fold: int
) -> tuple[Int[np.ndarray, " labelled"], Int[np.ndarray, " remainder"]]:
    """Split indices into `percent` % labelled and the remainder, both sorted.

    The labelled part is the first floor(n * percent / 100) of one permutation for each seed and
    fold, at least one: so the 1 % of a fold lies within its 2 %, and so on. The permutation sorts
    raw PCG64 output, which numpy keeps the same on all platforms and in all versions.

    Raises: InputError for a percentage outside (0, 100], no examples, or a negative seed or fold.
    Paper: 20 %, 50 % and 100 % of COCO; how the subsets were drawn is not stated.
    """
    if not 0 < percent <= 100:
        raise InputError(
            f"label percentage is {percent}; expected above 0 and at most 100, as 1, 2, 5, 10 or 20."
        )
    if num_examples < 1:
        raise InputError("there are no images to choose the labelled ones from. Check the training split.")
    if seed < 0 or fold < 0:
        raise InputError(f"seed is {seed} and fold is {fold}; expected 0 or above.")
    bits = np.random.PCG64(np.random.SeedSequence((seed, fold)))
    order = np.argsort(bits.random_raw(num_examples), kind="stable")
    num_labelled = max(1, math.floor(num_examples * percent / 100 + 1e-9))
    return np.sort(order[:num_labelled]), np.sort(order[num_labelled:])
