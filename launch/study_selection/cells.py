"""The runs of the study: `list_cells()` lists a round's, `train_command` and `select_command` are theirs."""

import pathlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

START = "start"
CONFIG = "configs/quickstart.py"


class Cell(NamedTuple):
    """A teacher: of the first labels, or after so many rounds of labelling what an arm chose."""

    seed: int
    arm: str  # config.select.by, with + for commas; or START
    round: int

    @property
    def name(self) -> str:
        """The folder of the run, and the split of its labels."""
        return f"{self.seed}-{self.arm}-{self.round}" if self.round else f"{self.seed}-{START}"

    @property
    def unlabelled(self) -> str:
        """The split of the images without labels."""
        return f"{self.name}-unlabelled"

    @property
    def before(self) -> "Cell":
        """The teacher by which this cell's images are chosen."""
        return self._replace(round=self.round - 1, arm=self.arm if self.round > 1 else START)


def list_cells(arms: Sequence[str], seeds: Sequence[int], round: int) -> list[Cell]:
    """Return the runs of a round, ordered by seed; of round 0 all arms share one."""
    return [Cell(seed, arm, round) for seed in seeds for arm in (arms if round else [START])]


def data_folder(runs: pathlib.Path, seed: int) -> pathlib.Path:
    """Return where a seed's images and labels are."""
    return runs / f"{seed}-data"


def selection_folder(runs: pathlib.Path, cell: Cell) -> pathlib.Path:
    """Return where the selection is that makes a cell's labels."""
    return runs / f"{cell.name}-selection"


def train_command(cell: Cell, runs: pathlib.Path, extra: Sequence[str] = ()) -> list[str]:
    """Return the command line that trains a cell's teacher; `extra` are flags that are added."""
    return [*_command(cell, runs), "--job=train", *extra]


def select_command(cell: Cell, runs: pathlib.Path, budget: int, extra: Sequence[str] = ()) -> list[str]:
    """Return the command line that chooses a cell's images by the teacher before it."""
    options = {
        "budget": budget,
        "by": cell.arm.replace("+", ","),
        "seed": cell.seed,
        "output": selection_folder(runs, cell),
    }
    flags = [f"--config.select.{key}={value}" for key, value in options.items()]
    return [*_command(cell.before, runs), "--job=select", *flags, *extra]


def _command(cell: Cell, runs: pathlib.Path) -> list[str]:
    where = {"kind": "coco", "dir": data_folder(runs, cell.seed), "images": "images"}
    where["annotations"] = "annotations/{split}.json"
    options = {
        **{f"{group}.{key}": value for group in ("data", "unlabeled") for key, value in where.items()},
        "data.train": cell.name,
        "unlabeled.split": cell.unlabelled,
        "log.tensorboard": False,
    }
    return [
        *(sys.executable, "-m", "selftrain_jax.main"),
        f"--config={CONFIG}:seed={cell.seed}",
        f"--workdir={runs / cell.name}",
        *(f"--config.{key}={value}" for key, value in options.items()),
    ]
