"""`--job=doctor`: look at a data set before hours are spent on it; exits with 2 when it found errors."""

import pathlib
from collections.abc import Callable
from functools import partial

from ml_collections import ConfigDict

from selftrain_jax.build.data import check_augment, judge_classes, labelled_part
from selftrain_jax.build.unlabeled import judge_locations, open_unlabeled, source_groups
from selftrain_jax.data.source import Problem, Source
from selftrain_jax.doctor.duplicates import TRAIN, split_name
from selftrain_jax.errors import InputError
from selftrain_jax.html.blocks import Finding
from selftrain_jax.tasks.lookup import get_self_training, get_task
from selftrain_jax.unlabeled_sources import check_further_sources


def run_doctor(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Check every split and the unlabelled images; write doctor.json and doctor.html.

    Judges by the run's own settings and with its own checks, so that the run accepts what passes here.

    Raises: InputError when the data has faults that would stop or spoil a run.
    """
    check_further_sources(config)
    task = get_self_training(config.task)
    tolerant = config.copy_and_resolve_references()
    tolerant.data.bad_boxes = "drop"
    open_split = get_task(config.task).open_split
    problems: list[Problem] = []
    labelled: dict[str, Source | None] = {}
    for split in dict.fromkeys((config.data.train, config.data.val, config.data.test)):
        problems += task.find_problems(config, split)
        labelled[split] = _try_open(partial(open_split, tolerant, "data", split), split, problems)
    unlabelled = {
        split_name(name): _open_unlabelled(config, tolerant, group, labelled[config.data.train], problems)
        for name, group in source_groups(config).items()
    }
    errors = _judge_config(config, labelled)
    train = labelled[config.data.train]
    if train is not None:
        labelled[config.data.train] = labelled_part(config, train)
    # Whatever it is called, as train_aug: what is trained on is not to hold what is measured on.
    labelled = {TRAIN if name == config.data.train else name: source for name, source in labelled.items()}
    first, *further = unlabelled.items()
    opened = {name: source for name, source in further if source is not None}
    if task.examine(config, labelled, first[1], problems, errors, workdir, opened):
        raise InputError("the data set has errors, listed above; fix them before training")


def _judge_config(config: ConfigDict, labelled: dict[str, Source | None]) -> list[Finding]:
    """Find what the run refuses of the config, and of the classes of the splits that could be opened."""
    errors = []
    try:
        get_task(config.task).check_config(config)
        check_augment(config)
    except InputError as error:
        errors.append(Finding("error", str(error), ""))
    errors += judge_locations(config)
    train = labelled[config.data.train]
    if train is None:
        return errors
    measured = [labelled[split] for split in (config.data.val, config.data.test)]
    return errors + list(judge_classes(config, train, [source for source in measured if source is not None]))


def _open_unlabelled(
    config: ConfigDict, tolerant: ConfigDict, group: str, train: Source | None, problems: list[Problem]
) -> Source | None:
    """Open the unlabelled images as the run does, or else without what is wrong with them."""
    if train is None or config.unlabeled.kind == "none":
        return None
    found = _try_open(partial(open_unlabeled, config, train, group), group, problems)
    if found is not None:
        return found
    return _try_open(partial(open_unlabeled, tolerant, train, group), group, problems)


def _try_open(open_source: Callable[[], Source], name: str, problems: list[Problem]) -> Source | None:
    """Open a source, or note why it cannot be opened and go on with the other ones."""
    try:
        return open_source()
    except InputError as error:
        if not any(problem.message in str(error) for problem in problems):
            problems.append(Problem("malformed", name, str(error)))
        return None
