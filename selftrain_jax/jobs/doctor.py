"""`--job=doctor`: look at a data set before hours are spent on it; exits with 2 when it found errors."""

import pathlib
from collections.abc import Callable, Iterator
from functools import partial

from ml_collections import ConfigDict

from selftrain_jax.build.data import labelled_part, open_unlabeled
from selftrain_jax.data.image_files import fill_template
from selftrain_jax.data.source import Problem, Source
from selftrain_jax.data.sources import coco as coco_json
from selftrain_jax.data.sources import voc_boxes as voc_xml
from selftrain_jax.doctor.examine import TRAIN, examine
from selftrain_jax.doctor.report import format_diagnosis, write_doctor_report
from selftrain_jax.errors import InputError
from selftrain_jax.tasks.config_values import require_dir
from selftrain_jax.tasks.lookup import get_task

Splits = dict[str, Source | None]


def run_doctor(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Check every split and the unlabelled images; write doctor.json and doctor.html.

    Raises:
        InputError: the data has faults that would stop or spoil a run.
    """
    tolerant = config.copy_and_resolve_references()
    tolerant.data.bad_boxes = "drop"
    open_split = get_task(config.task).open_split
    problems: list[Problem] = []
    labelled: dict[str, Source | None] = {}
    for split in dict.fromkeys((config.data.train, config.data.val, config.data.test)):
        problems += find_problems(config, split)
        labelled[split] = _try_open(partial(open_split, tolerant, "data", split), split, problems)
    unlabelled = _try_open(partial(_unlabelled, tolerant, labelled), "unlabeled", problems)
    train = labelled[config.data.train]
    if train is not None:
        labelled[config.data.train] = labelled_part(config, train)
    # Whatever it is called, as train_aug: what is trained on is not to hold what is measured on.
    labelled = {TRAIN if name == config.data.train else name: source for name, source in labelled.items()}
    if config.task == "segmentation":
        has_errors = _examine_masks(labelled, unlabelled, problems, workdir)
    else:
        has_errors = _examine_boxes(config, labelled, unlabelled, problems, workdir)
    if has_errors:
        raise InputError("the data set has errors, listed above; fix them before training")


def _examine_boxes(
    config: ConfigDict,
    labelled: Splits,
    unlabelled: Source | None,
    problems: list[Problem],
    workdir: pathlib.Path,
) -> bool:
    diagnosis = examine(
        labelled=labelled, unlabelled=unlabelled, problems=problems, bad_boxes=config.data.bad_boxes
    )
    print(format_diagnosis(diagnosis))
    workdir.mkdir(parents=True, exist_ok=True)
    print(f"with pictures: {write_doctor_report(diagnosis, workdir)}")
    return diagnosis.has_errors


def _examine_masks(
    labelled: Splits, unlabelled: Source | None, problems: list[Problem], workdir: pathlib.Path
) -> bool:
    from selftrain_jax.tasks.segmentation.doctor import (
        examine_masks,
        format_mask_diagnosis,
        write_mask_report,
    )

    diagnosis = examine_masks(labelled=labelled, unlabelled=unlabelled, problems=problems)
    print(format_mask_diagnosis(diagnosis))
    print(f"with pictures: {write_mask_report(diagnosis, workdir)}")
    return diagnosis.images.has_errors


def find_problems(config: ConfigDict, split: str) -> Iterator[Problem]:
    """Yield the faults of a split's box files; built-in data and TFDS have no files of the user's."""
    data = config.data
    is_voc = data.kind == "voc" or (data.kind == "auto" and data.dir)
    if config.task == "segmentation" or not (is_voc or data.kind == "coco"):
        return  # masks are read when the split is examined
    root = require_dir(data.dir, "config.data.dir", "the data set")
    if data.kind == "coco":
        keys = {"config.data.annotations": data.annotations, "config.data.images": data.images}
        annotations, images = (root / fill_template(text, split, key) for key, text in keys.items())
        yield from coco_json.find_problems(annotations, images)
    if is_voc:
        classes = tuple(filter(None, data.classes.split(","))) or None
        yield from voc_xml.find_problems(root, split, classes)


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
