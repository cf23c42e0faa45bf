"""The runs of the study: `cells()` lists them, `command()` returns the command line of one."""

import itertools
import pathlib
import sys
from typing import NamedTuple

INITS, SEEDS = ("rand", "imagenet"), (0, 1, 2)
# From here the AP of the val split hardly rose (README.md beside this file, Steps).
STEPS = {"rand": 1600, "imagenet": 400}
STUDENT_STEPS = {"rand": 400, "imagenet": 200}
TEACHER_BATCH, STUDENT_BATCH = 4, 8  # the student's is half human, half pseudo; the control's all human


class Cell(NamedTuple):
    """A run of the study."""

    init: str
    labels: int  # percent of train
    policy: str
    seed: int

    @property
    def name(self) -> str:
        """The folder of the run."""
        return f"{self.init}-{self.labels}-{self.policy}-{self.seed}"

    @property
    def is_supervised(self) -> bool:
        """Whether only a teacher is trained."""
        return self.labels == 100 or self.policy == "s1"


def cells() -> list[Cell]:
    """Return all runs, ordered by seed, so that an unfinished study is balanced."""
    table = [(init, labels, "s4") for init, labels in itertools.product(INITS, (10, 20, 100))]
    table += [(init, labels, "s1") for init, labels in itertools.product(INITS, (20, 100))]
    return [Cell(*row, seed) for seed in SEEDS for row in table]


def command(cell: Cell, data: str, runs: pathlib.Path) -> list[str]:
    """Return the command line of a cell's run."""
    arguments = f"labels={cell.labels},aug={cell.policy},backbone=efficientnet_lite0,init={cell.init}"
    options = {
        "workdir": runs / cell.name,
        "config.data.dir": data,
        "config.teacher.steps": STEPS[cell.init],
        "config.teacher.batch_size": TEACHER_BATCH,
        "config.student.steps": STUDENT_STEPS[cell.init],
        "config.student.batch_size": STUDENT_BATCH,
        "config.eval.every_steps": 200,
    }
    if cell.is_supervised:
        options |= {"config.unlabeled.kind": "none", "config.student.control": False}
    start = [sys.executable, "-m", "selftrain_jax.main"]
    start.append(f"--config=configs/bccd.py:{arguments},seed={cell.seed}")
    return [*start, *(f"--{key}={value}" for key, value in options.items())]
