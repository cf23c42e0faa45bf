"""A teacher that still rises on val at its end: by hand, and where it is said."""

import pytest

from selftrain_jax.run_files.finished import describe_unfinished, rise_at_the_end


def rows(*scores: float | None) -> list[dict]:
    """Scores on val after 100, 200, ... steps, with lines of the loss between them."""
    measured = [{"step": 100 * number, "eval/ap": score} for number, score in enumerate(scores, 1)]
    return [row for found in measured for row in ({"step": found["step"] - 50, "train/loss": 1.0}, found)]


@pytest.mark.parametrize(
    ("scores", "rise"),
    [
        ((0.1, 0.2, 0.3, 0.35), 0.05),
        ((0.1, 0.4, 0.3, 0.35), -0.05),  # the best of before, not the last
        ((0.1, 0.2, 0.21, 0.22, 0.25), 0.04),  # 400 of 500 is in the last quarter
        ((0.1, -1, 0.3), 0.2),  # -1 is undefined
        ((0.3,), None),
        ((None, 0.2), None),
        ((), None),
    ],
)
def test_rise_over_the_best_of_the_first_three_quarters(scores: tuple, rise: float | None) -> None:
    found = rise_at_the_end(rows(*scores), "eval/ap")
    assert found == (None if rise is None else pytest.approx(rise))


def test_it_is_said_from_a_point_on_with_what_to_do() -> None:
    assert describe_unfinished(rows(0.1, 0.2, 0.3, 0.309), "eval/ap", "AP") == ""
    assert describe_unfinished(rows(), "eval/ap", "AP") == ""
    told = describe_unfinished(rows(0.1, 0.2, 0.3, 0.323), "eval/ap", "AP")
    assert "on val its AP rose by 2.3 in its last quarter" in told
    assert "config.teacher.steps" in told
