"""Going back to the last checkpoint with a lower learning rate when a loss was not finite; off by default.

`rollback.json` in the stage's folder says when it happened, so that a resumed run has the same rate.
Paper: not in it. SpineNet-190 at a learning rate of 0.28 is where users of the released code met NaN.
"""

import json
import os
from pathlib import Path
from typing import NamedTuple

from selftrain_jax.errors import InputError
from selftrain_jax.train.optimizer import Schedule

FILE_NAME = "rollback.json"
FACTOR = 0.5


class Rollback(NamedTuple):
    """One time that training went back."""

    bad_step: int  # whose loss was not finite
    learning_rate_factor: float  # from then on


def read_rollbacks(directory: Path) -> list[Rollback]:
    """Read how often a stage went back, in order.

    Raises:
        InputError: the file is damaged.
    """
    path = directory / FILE_NAME
    if not path.exists():
        return []
    try:
        return [Rollback(int(step), float(factor)) for step, factor in json.loads(path.read_text("utf-8"))]
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InputError(
            f"{path} is damaged ({error}); expected [[step, factor], ...]. Delete the stage's folder to "
            "train it anew, or write down the learning rate factor that its log shows"
        ) from None


def note_rollback(directory: Path, bad_step: int) -> Rollback:
    """Add one to the file and return it: the learning rate is halved once more."""
    before = read_rollbacks(directory)
    latest = Rollback(bad_step, FACTOR ** (len(before) + 1))
    unfinished = directory / f"{FILE_NAME}.tmp"
    unfinished.write_text(json.dumps([*before, latest]), encoding="utf-8")
    os.replace(unfinished, directory / FILE_NAME)
    return latest


def lowered(schedule: Schedule, rollbacks: list[Rollback]) -> Schedule:
    """Multiply a schedule by the latest factor."""
    if not rollbacks:
        return schedule
    factor = rollbacks[-1].learning_rate_factor
    return lambda step: factor * schedule(step)
