"""Where the student's batches have human- and pseudo-labelled images: `positions_of_pseudo`.

Paper: half and half; section 3.1, appendix H.
"""

import math

import numpy as np
from jaxtyping import Bool


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
