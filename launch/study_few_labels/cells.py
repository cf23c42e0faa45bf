"""The runs of the study: `list_cells()` lists them, `command()` returns the command line of one."""

import itertools
import pathlib
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple


class DataSet(NamedTuple):
    """A labelled data set of which the study keeps a share of the labels."""

    config: str  # of `configs/`, with its recipe for few labels
    arguments: str
    shares: tuple[float, ...]  # percent of train that keeps its labels, the smallest first
    options: dict[str, Any]  # config keys that say how the files are read


CAMVID = "Sky,Building,Pole,Road,Pavement,Tree,SignSymbol,Fence,Car,Pedestrian,Bicyclist"
SETS = {
    "animals": DataSet("own_data.py", "kind=coco", (2, 5), {}),
    # At the preset's 128 px half of the platelets are under 8 px; from 129 px on the network sees 256.
    "bccd": DataSet(
        "own_data.py",
        "kind=voc,size=256",
        (10, 20),
        {"data.classes": "RBC,WBC,Platelets", "data.bad_boxes": "drop"},
    ),
    "camvid": DataSet("own_masks.py", "", (12.5,), {"data.classes": CAMVID, "data.ignore_value": 11}),
}


class Cell(NamedTuple):
    """A run of the study."""

    data_set: str
    share: float
    policy: str
    seed: int

    @property
    def name(self) -> str:
        """The folder of the run."""
        return f"{self.data_set}-{self.share:g}-{self.policy}-{self.seed}"


def list_cells(
    data_sets: Iterable[str], shares: Sequence[float], policies: Sequence[str], seeds: Sequence[int]
) -> list[Cell]:
    """Return the runs, ordered by seed, so that an unfinished study is balanced.

    Without `shares` every data set has its own.
    """
    table = [
        (name, share, policy)
        for name in data_sets
        for share, policy in itertools.product(shares or SETS[name].shares, policies)
    ]
    return [Cell(*row, seed) for seed in seeds for row in table]


def command(cell: Cell, data: pathlib.Path, runs: pathlib.Path, extra: Sequence[str] = ()) -> list[str]:
    """Return the command line of a cell's run: the recipe as it stands in the config, with an oracle.

    `extra` are flags that are added, such as --config.student.steps=2000.
    """
    data_set = SETS[cell.data_set]
    arguments = ",".join(
        filter(None, [data_set.arguments, "device=cpu", f"aug={cell.policy},seed={cell.seed}"])
    )
    options = {
        "data.dir": data,
        "data.label_percent": cell.share,
        "unlabeled.kind": "remainder",
        "student.oracle": True,
        "log.tensorboard": False,
        **data_set.options,
    }
    return [
        *(sys.executable, "-m", "selftrain_jax.main"),
        f"--config=configs/{data_set.config}:{arguments}",
        f"--workdir={runs / cell.name}",
        *(f"--config.{key}={value}" for key, value in options.items()),
        *extra,
    ]
