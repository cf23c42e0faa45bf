"""`--job=doctor`: look at a data set before hours are spent on it; exits with 2 when it found errors."""

import pathlib
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from ml_collections import ConfigDict

from selftrain_jax.build.data import check_augment, judge_classes, log_notes, open_unlabeled
from selftrain_jax.build.set_apart import set_apart
from selftrain_jax.build.splits import Parts, assign_parts, check_split_keys, labelled_part
from selftrain_jax.data.source import Problem, Source, without_labels
from selftrain_jax.doctor.duplicates import TRAIN
from selftrain_jax.errors import InputError
from selftrain_jax.html.blocks import Finding
from selftrain_jax.stages.choices import TEACHER_LABELS, label_source
from selftrain_jax.tasks.config_values import measured_names, split_names
from selftrain_jax.tasks.foreign_settings import check_label_keys
from selftrain_jax.tasks.lookup import get_self_training, get_task

T = TypeVar("T")
Labelled = dict[str, Source | None]  # by the name of the split; None could not be opened


def run_doctor(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Check every split and the unlabelled images; write doctor.json and doctor.html.

    Judges by the run's own settings and with its own checks, so that the run accepts what passes here.

    Raises: InputError when the data has faults that would stop or spoil a run.
    """
    task = get_self_training(config.task)
    tolerant = config.copy_and_resolve_references()
    tolerant.data.bad_boxes = "drop"
    open_split = get_task(config.task).open_split
    problems: list[Problem] = []
    opened: Labelled = {}
    for split in split_names(config):
        found = [problem for problem in task.find_problems(config, split) if problem not in problems]
        problems += found
        opened[split] = _try_open(partial(open_split, tolerant, "data", split), split, problems)
    errors = _judge_config(config)
    labelled, unlabelled = _read_as_the_run(config, tolerant, opened, problems, errors)
    log_notes([*opened.values(), unlabelled])
    errors += _judge_foreign(config, labelled, unlabelled)
    if task.examine(config, labelled, unlabelled, problems, errors, workdir):
        raise InputError("the data set has errors, listed above; fix them before training")


def _judge_config(config: ConfigDict) -> list[Finding]:
    """Find what the run refuses of the config, whatever the data."""
    errors: list[Finding] = []
    for check in (get_task(config.task).check_config, check_augment, check_split_keys):
        _try(partial(check, config), errors)
    return errors


def _read_as_the_run(
    config: ConfigDict,
    tolerant: ConfigDict,
    opened: Labelled,
    problems: list[Problem],
    errors: list[Finding],
) -> tuple[Labelled, Source | None]:
    """Return what is trained and measured on, by its name, and what is labelled, as the run reads them.

    What does not fit goes into `problems` and `errors`; then, and where a split is missing, they are as they
    could be opened.
    What is trained on is called train whatever its split is called, as train_aug.
    """
    data, found = config.data, {name: source for name, source in opened.items() if source is not None}
    parts = _try(partial(assign_parts, config, found), errors) if len(found) == len(opened) else None
    train = parts.train if parts else opened[data.train]
    if train is None:
        return {TRAIN if name == data.train else name: source for name, source in opened.items()}, None
    unlabelled = _open_unlabelled(config, tolerant, train, problems)
    measured = parts[1:] if parts else [opened.get(data.val), opened.get(data.test)]
    errors += judge_classes(config, train, [source for source in measured if source is not None])
    human = _try(partial(labelled_part, config, train), errors) or train
    if parts is None:
        others = {name: source for name, source in opened.items() if name != data.train}
        return {TRAIN: human, **others}, unlabelled
    return _set_apart(config, parts, human, unlabelled, errors)


def _set_apart(
    config: ConfigDict, parts: Parts, human: Source, unlabelled: Source | None, errors: list[Finding]
) -> tuple[Labelled, Source | None]:
    data = config.data
    val, test = measured_names(config)
    sources = _try(partial(set_apart, config, parts, human, unlabelled), errors)
    if sources is None:
        return {TRAIN: human, val: parts.val, test: parts.test or parts.val}, unlabelled
    if sources.unlabeled is not None and unlabelled is not None:
        is_whole = len(sources.unlabeled) == len(unlabelled)
        unlabelled = unlabelled if is_whole else sources.unlabeled_truth or sources.unlabeled
    measured = {val: sources.val, test: sources.test}
    if not data.split:
        measured.pop(data.train, None)  # measured on what is trained on, as config.data.val says
    return {TRAIN: sources.human, **measured}, unlabelled


def _judge_foreign(config: ConfigDict, labelled: Labelled, unlabelled: Source | None) -> list[Finding]:
    """Read other models' predictions as the run does, where config.pseudo.labels takes them."""
    train, val = labelled.get(TRAIN), labelled.get(measured_names(config)[0])
    try:
        check_label_keys(config)
        if label_source(config) == TEACHER_LABELS or train is None or val is None or unlabelled is None:
            return []
        read_foreign = get_self_training(config.task).read_foreign
        found = read_foreign(config, without_labels(unlabelled), val, train.categories)
    except InputError as error:
        return [Finding("error", f"other models' predictions: {error}", "")]
    print("\n".join(found.lines), flush=True)
    return []


def _open_unlabelled(
    config: ConfigDict, tolerant: ConfigDict, train: Source, problems: list[Problem]
) -> Source | None:
    """Open the unlabelled images as the run does, or else without what is wrong with them."""
    if config.unlabeled.kind == "none":
        return None
    found = _try_open(partial(open_unlabeled, config, train), "unlabeled", problems)
    if found is not None:
        return found
    return _try_open(partial(open_unlabeled, tolerant, train), "unlabeled", problems)


def _try_open(open_source: Callable[[], Source], name: str, problems: list[Problem]) -> Source | None:
    """Open a source, or note why it cannot be opened and go on with the other ones."""
    try:
        return open_source()
    except InputError as error:
        if not any(problem.message in str(error) for problem in problems):
            problems.append(Problem("malformed", name, str(error)))
        return None


def _try(function: Callable[[], T], errors: list[Finding]) -> T | None:
    """Call a function that the run calls, or note what it refuses, once."""
    try:
        return function()
    except InputError as error:
        finding = Finding("error", str(error), "")
        if finding not in errors:
            errors.append(finding)
        return None
