"""When a stage ends before its last step: val has stopped rising; call `has_stopped_rising`.

The paper trains for fixed numbers of steps. The rule sees nothing but the recorded scores, so that a resumed
run ends at the same step as one that was not interrupted.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Measured(NamedTuple):
    """What an evaluation on val gave."""

    step: int
    score: float


def has_stopped_rising(evaluations: Sequence[Measured], patience: int) -> bool:
    """Tell whether the last `patience` evaluations all stayed at or below the highest score before them.

    A score that is not finite has not risen. With a patience of 0 the answer is no.
    """
    if patience < 1 or not evaluations:
        return False
    return len(evaluations) - 1 - evaluations.index(find_first_best(evaluations)) >= patience


def find_first_best(evaluations: Sequence[Measured]) -> Measured:
    """Return the evaluation with the highest score, of equals the first; there is at least one."""
    return max(evaluations, key=lambda found: found.score if math.isfinite(found.score) else -math.inf)
