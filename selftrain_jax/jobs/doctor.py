"""`--job=doctor`: look at a data set before hours are spent on it; exits with 2 when it found errors."""

import pathlib
from collections.abc import Callable
from functools import partial

from ml_collections import ConfigDict

from selftrain_jax.build.data import labelled_part, open_unlabeled
from selftrain_jax.data.source import Problem, Source
from selftrain_jax.doctor.duplicates import TRAIN
from selftrain_jax.errors import InputError
from selftrain_jax.tasks.lookup import get_self_training, get_task


def run_doctor(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Check every split and the unlabelled images; write doctor.json and doctor.html.

    Raises: InputError when the data has faults that would stop or spoil a run.
    """
    task = get_self_training(config.task)
    tolerant = config.copy_and_resolve_references()
    tolerant.data.bad_boxes = "drop"
    open_split = get_task(config.task).open_split
    problems: list[Problem] = []
    labelled: dict[str, Source | None] = {}
    for split in dict.fromkeys((config.data.train, config.data.val, config.data.test)):
        problems += task.find_problems(config, split)
        labelled[split] = _try_open(partial(open_split, tolerant, "data", split), split, problems)
    unlabelled = _try_open(partial(_unlabelled, tolerant, labelled), "unlabeled", problems)
    train = labelled[config.data.train]
    if train is not None:
        labelled[config.data.train] = labelled_part(config, train)
    # Whatever it is called, as train_aug: what is trained on is not to hold what is measured on.
    labelled = {TRAIN if name == config.data.train else name: source for name, source in labelled.items()}
    if task.examine(config, labelled, unlabelled, problems, workdir):
        raise InputError("the data set has errors, listed above; fix them before training")


def _unlabelled(config: ConfigDict, labelled: dict[str, Source | None]) -> Source | None:
    train = labelled[config.data.train]
    kind = config.unlabeled.kind
    if train is None or kind == "none" or (kind == "remainder" and config.data.label_percent == 100):
        return None
    return open_unlabeled(config, train)


def _try_open(open_source: Callable[[], Source | None], name: str, problems: list[Problem]) -> Source | None:
    """Open a source, or note why it cannot be opened and go on with the other ones."""
    try:
        return open_source()
    except InputError as error:
        if not any(problem.message in str(error) for problem in problems):
            problems.append(Problem("malformed", name, str(error)))
        return None
