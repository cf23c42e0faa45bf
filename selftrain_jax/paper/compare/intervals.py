"""Means with their intervals over seeds; call `estimate`.

The interval is Student's t at 95 %: seeds are few, and their spread is known from themselves alone. Numbers
that are compared are subtracted within a seed first, for a student and its teacher share a start and the
labelled images. Where all seeds agree, as they may on a best alpha, the interval has no width.
"""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from scipy.special import stdtrit

LEVEL = 0.95


class Estimate(NamedTuple):
    """A mean and half of its interval: infinite from one number, 0 of a published one, whose `num` is 0."""

    mean: float
    half_width: float
    num: int

    @property
    def low(self) -> float:
        """Return the interval's lower end."""
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        """Return the interval's upper end."""
        return self.mean + self.half_width


def estimate(values: Sequence[float]) -> Estimate:
    """Return mean and interval of one number for each seed; there must be at least one."""
    num = len(values)
    if num == 1:
        return Estimate(values[0], math.inf, 1)
    quantile = float(stdtrit(num - 1, (1 + LEVEL) / 2))
    return Estimate(statistics.fmean(values), quantile * statistics.stdev(values) / math.sqrt(num), num)
