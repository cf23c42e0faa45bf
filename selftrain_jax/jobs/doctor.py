"""`--job=doctor`: look at a data set before hours are spent on it; exits with 2 when it found errors."""

import pathlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from ml_collections import ConfigDict

from selftrain_jax.build.data import check_augment, judge_classes, log_notes
from selftrain_jax.build.set_apart import join_unlabelled, take_apart
from selftrain_jax.build.splits import Parts, assign_parts, check_split_keys, labelled_part
from selftrain_jax.build.unlabeled import judge_locations, open_unlabeled, source_groups
from selftrain_jax.data.source import Problem, Source
from selftrain_jax.doctor.duplicates import TRAIN, split_name
from selftrain_jax.errors import InputError
from selftrain_jax.html.blocks import Finding
from selftrain_jax.jobs.doctor_labels import judge_labels
from selftrain_jax.jobs.options import Options
from selftrain_jax.jobs.starts import check_starts, describe_downloads, find_downloads, plan_starts
from selftrain_jax.stages.choices import TEACHER_LABELS, label_source
from selftrain_jax.tasks.config_values import measured_names, split_names
from selftrain_jax.tasks.foreign_settings import check_label_keys
from selftrain_jax.tasks.lookup import get_self_training, get_task
from selftrain_jax.text import FIRST_SOURCE
from selftrain_jax.unlabeled_sources import check_further_sources

T = TypeVar("T")
Labelled = dict[str, Source | None]  # by the name of the split; None could not be opened
Unlabelled = Mapping[str, Source]  # by the name of the source


def run_doctor(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Check every split and the unlabelled images; write doctor.json and doctor.html.

    Judges by the run's own settings and with its own checks, so that the run accepts what passes here.
    Pseudo labels that `workdir` has already are read whole.

    Raises: InputError when the data has faults that would stop or spoil a run.
    """
    check_further_sources(config)
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
    log_notes([*opened.values(), *unlabelled.values()])
    started = plan_starts(config, workdir, Options())
    for line in describe_downloads(find_downloads(started, workdir, Options())):
        print(line, flush=True)
    images = _try(partial(join_unlabelled, unlabelled), errors)
    errors += _judge_foreign(config, labelled, images)
    errors += judge_labels(config, workdir)
    first = unlabelled.get(FIRST_SOURCE)
    further = {split_name(name): source for name, source in unlabelled.items() if name != FIRST_SOURCE}
    if task.examine(config, labelled, first, problems, errors, workdir, further):
        raise InputError("the data set has errors, listed above; fix them before training")


def _judge_config(config: ConfigDict) -> list[Finding]:
    """Find what the run refuses of the config, whatever the data."""
    errors: list[Finding] = []
    for check in (get_task(config.task).check_config, check_augment, check_split_keys, check_starts):
        _try(partial(check, config), errors)
    return [*errors, *judge_locations(config)]


def _read_as_the_run(
    config: ConfigDict,
    tolerant: ConfigDict,
    opened: Labelled,
    problems: list[Problem],
    errors: list[Finding],
) -> tuple[Labelled, Unlabelled]:
    """Return what is trained and measured on, by its name, and what is labelled, as the run reads them.

    What does not fit goes into `problems` and `errors`; then, and where a split is missing, they are as they
    could be opened.
    What is trained on is called train whatever its split is called, as train_aug.
    """
    data, found = config.data, {name: source for name, source in opened.items() if source is not None}
    parts = _try(partial(assign_parts, config, found), errors) if len(found) == len(opened) else None
    train = parts.train if parts else opened[data.train]
    if train is None:
        return {TRAIN if name == data.train else name: source for name, source in opened.items()}, {}
    unlabelled = _open_unlabelled(config, tolerant, train, problems)
    measured = parts[1:] if parts else [opened.get(data.val), opened.get(data.test)]
    errors += judge_classes(config, train, [source for source in measured if source is not None])
    human = _try(partial(labelled_part, config, train), errors) or train
    if parts is None:
        others = {name: source for name, source in opened.items() if name != data.train}
        return {TRAIN: human, **others}, unlabelled
    return _take_apart(config, parts, human, unlabelled, errors)


def _take_apart(
    config: ConfigDict, parts: Parts, human: Source, unlabelled: Unlabelled, errors: list[Finding]
) -> tuple[Labelled, Unlabelled]:
    val, test = measured_names(config)
    apart = _try(partial(take_apart, config, parts, human, unlabelled), errors)
    if apart is None:
        return {TRAIN: human, val: parts.val, test: parts.test or parts.val}, unlabelled
    measured: Labelled = {val: apart.val, test: apart.test}
    if not config.data.split:
        measured.pop(config.data.train, None)  # measured on what is trained on, as config.data.val says
    return {TRAIN: apart.human, **measured}, apart.unlabeled


def _judge_foreign(config: ConfigDict, labelled: Labelled, images: Source | None) -> list[Finding]:
    """Read other models' predictions as the run does, where config.pseudo.labels takes them.

    `images` are the unlabelled ones of all sources.
    """
    train, val = labelled.get(TRAIN), labelled.get(measured_names(config)[0])
    try:
        check_label_keys(config)
        if label_source(config) == TEACHER_LABELS or train is None or val is None or images is None:
            return []
        found = get_self_training(config.task).read_foreign(config, images, val, train.categories)
    except InputError as error:
        return [Finding("error", f"other models' predictions: {error}", "")]
    print("\n".join(found.lines), flush=True)
    return []


def _open_unlabelled(
    config: ConfigDict, tolerant: ConfigDict, train: Source, problems: list[Problem]
) -> Unlabelled:
    """Open the sources of unlabelled images as the run does, or else without what is wrong with them."""
    if config.unlabeled.kind == "none":
        return {}
    found: dict[str, Source] = {}
    for name, group in source_groups(config).items():
        for settings in (config, tolerant):
            if name not in found:
                source = _try_open(partial(open_unlabeled, settings, train, group), group, problems)
                found |= {} if source is None else {name: source}
    return found


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
