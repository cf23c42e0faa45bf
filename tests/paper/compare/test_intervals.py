"""Student's t interval against scipy's distribution and a table's value."""

import math

import numpy as np
import pytest
import scipy.stats

from selftrain_jax.paper.compare.intervals import estimate


@pytest.mark.parametrize("num", [2, 3, 5, 30])
def test_the_interval_is_scipys(num: int) -> None:
    values = np.random.default_rng(num).normal(40, 2, num)
    found = estimate(values.tolist())
    low, high = scipy.stats.t.interval(0.95, num - 1, values.mean(), scipy.stats.sem(values))
    assert (found.low, found.high, found.num) == (pytest.approx(low), pytest.approx(high), num)


def test_three_numbers_by_hand() -> None:
    # 1, 2, 3: deviation 1; t of two degrees of freedom at 97.5 % is 4.303.
    found = estimate([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.half_width == pytest.approx(4.303 / math.sqrt(3), abs=1e-3)


def test_one_number_has_no_interval_and_equal_ones_no_width() -> None:
    assert estimate([5.0]).half_width == math.inf
    assert estimate([5.0, 5.0]).half_width == 0.0
