"""Which control counts, and how much of the oracle's gain the student gets, by hand."""

import pytest

from selftrain_jax.run_files.arms import find_stronger_control, share_of_oracle


@pytest.mark.parametrize(
    ("scores", "control"),
    [
        (
            {"teacher": 0.9, "control": 0.3, "control_half": 0.4, "oracle": 0.8, "student": 0.5},
            "control_half",
        ),
        ({"control": 0.4, "control_half": 0.3}, "control"),
        ({"control": 0.4, "control_half": 0.4}, "control"),
        ({"control": -1, "control_half": 0.1}, "control_half"),  # -1: undefined
        ({"control": None, "control_half": 0.0}, "control_half"),
        ({"control": -1, "control_half": None}, None),
        ({"teacher": 0.4, "student": 0.5, "oracle": 0.6}, None),
    ],
)
def test_the_control_that_counts_is_the_stronger_one(scores: dict, control: str | None) -> None:
    assert find_stronger_control(scores) == control


@pytest.mark.parametrize(
    ("student", "control", "oracle", "share"),
    [
        (0.40, 0.30, 0.50, 0.5),
        (0.434, 0.344, 0.553, 0.090 / 0.209),
        (0.30, 0.30, 0.50, 0.0),
        (0.25, 0.30, 0.50, -0.25),
        (0.60, 0.30, 0.50, 1.5),
        (0.40, 0.30, 0.30, None),  # nothing to gain
        (0.40, 0.30, 0.20, None),
        (-1, 0.30, 0.50, None),
        (0.40, -1, 0.50, None),
        (0.40, 0.30, None, None),
        (None, 0.30, 0.50, None),
    ],
)
def test_share_of_the_oracle_is_the_students_gain_over_the_oracles(
    student: float | None, control: float, oracle: float | None, share: float | None
) -> None:
    found = share_of_oracle(student, control, oracle)
    assert found == (None if share is None else pytest.approx(share))
