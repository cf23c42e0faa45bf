"""When val has stopped rising, by hand."""

import math

import pytest

from selftrain_jax.train.patience import Measured, find_first_best, has_stopped_rising


def measured(*scores: float) -> list[Measured]:
    return [Measured(10 * number, score) for number, score in enumerate(scores, 1)]


@pytest.mark.parametrize(
    ("scores", "patience", "is_over"),
    [
        ((), 1, False),
        ((0.1,), 1, False),
        ((0.1, 0.2, 0.3), 1, False),
        ((0.1, 0.2, 0.2), 1, True),  # equal is not a rise
        ((0.3, 0.1, 0.2), 2, True),  # rising again, but not above the best
        ((0.3, 0.1, 0.31), 2, False),
        ((0.3, 0.1, 0.31, 0.2), 2, False),
        ((0.3, 0.1, 0.31, 0.2, 0.3), 2, True),
        ((0.0, 0.0, 0.0), 2, True),
        ((-1.0, -1.0, 0.0), 2, False),  # undefined, then defined
        ((math.nan, 0.1), 1, False),
        ((0.1, math.nan), 1, True),
        ((math.nan, math.nan), 1, True),
        ((0.3, 0.2, 0.1, 0.0), 0, False),
    ],
)
def test_a_stage_is_over_when_so_many_evaluations_in_a_row_are_not_above_the_best(
    scores: tuple[float, ...], patience: int, is_over: bool
) -> None:
    assert has_stopped_rising(measured(*scores), patience) is is_over


def test_of_equal_scores_the_first_is_the_best() -> None:
    assert find_first_best(measured(0.1, math.nan, 0.4, 0.4)) == (30, 0.4)
