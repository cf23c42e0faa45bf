"""Returning to the last checkpoint with a lower learning rate when a loss is not finite; off by default.

`rollback.json` in the stage's folder lists the rollbacks, so that a resumed run has the same learning rate.
Not in the paper. Users of the released code met NaN with SpineNet-190 at a learning rate of 0.28.
"""

import json
from pathlib import Path
from typing import NamedTuple

from selftrain_jax.errors import InputError
from selftrain_jax.io import atomic_write
from selftrain_jax.train.optimizer import Schedule

FILE_NAME = "rollback.json"
FACTOR = 0.5


class Rollback(NamedTuple):
    """One return to a checkpoint."""

    bad_step: int  # its loss was not finite
    learning_rate_factor: float  # since then


def read_rollbacks(directory: Path) -> list[Rollback]:
    """Read a stage's rollbacks, in order.

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
            "train it again, or restore the file with the learning rate factor that the log shows"
        ) from None


def add_rollback(directory: Path, bad_step: int) -> Rollback:
    """Add a rollback to the file, with half the learning rate of the one before, and return it."""
    before = read_rollbacks(directory)
    latest = Rollback(bad_step, FACTOR ** (len(before) + 1))
    with atomic_write(directory / FILE_NAME) as file:
        json.dump([*before, latest], file)
    return latest


def scale_schedule(schedule: Schedule, rollbacks: list[Rollback]) -> Schedule:
    """Multiply a schedule by the factor of the latest rollback."""
    if not rollbacks:
        return schedule
    factor = rollbacks[-1].learning_rate_factor
    return lambda step: factor * schedule(step)
