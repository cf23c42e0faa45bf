"""`--job=report`: report.html from what a work folder holds; pictures come from the run's own data."""

import pathlib
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from selftrain_jax.build.data import build_augment, build_sources
from selftrain_jax.build.set_apart import Sources
from selftrain_jax.data.source import Source, subset
from selftrain_jax.errors import InputError
from selftrain_jax.html.galleries import spread
from selftrain_jax.models.input_normalization import MEAN_RGB
from selftrain_jax.report.page import write_report_page
from selftrain_jax.report.workdir import LABELS_FOLDER, read_config, read_known, read_run
from selftrain_jax.run_files.evaluation import EVALUATION_FILE
from selftrain_jax.run_files.manifest import MANIFEST_FILE
from selftrain_jax.run_files.summary import STAGES
from selftrain_jax.tasks.lookup import TASKS, get_self_training, get_task
from selftrain_jax.tasks.spec import TaskSpec
from selftrain_jax.tasks.tiles import cut_tiles
from selftrain_jax.types import Example

POLICIES = ("s1", "s2", "s3", "s4")
NUM_AUGMENTED = 4


def run_report(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Write `<workdir>/report.html`; a stage that has not run yet is marked as missing.

    Raises: InputError when the data set of the config or a file of the run is missing or broken.
    """
    sources, task = build_sources(config), get_self_training(config.task)
    workdir.mkdir(parents=True, exist_ok=True)
    augmented = {policy: augmented_pairs(config, sources.human, policy) for policy in POLICIES}
    images = task.gather_images(config, workdir, sources.test, _truth(sources), augmented)
    print(f"report: {write_report(workdir, get_task(config.task), images)}")


def write_report(workdir: pathlib.Path, task: TaskSpec | None, images: Any) -> pathlib.Path:
    """Write `<workdir>/report.html` from what the run has written so far, and return its path.

    Without a `task` the run's files say which task it is. `images` are what the task's `gather_images`
    gave, or None for a report without pictures.

    Raises: InputError when the folder does not exist, or one of its files is broken.
    """
    task = task or get_task(task_of(workdir))
    needs, metric = get_self_training(task.name), task.metrics[0]
    run = read_run(workdir, task.evaluation_details, needs.label_totals)
    return write_report_page(run, needs.report_sections(run, images), metric.key, metric.name)


def task_of(workdir: pathlib.Path) -> str:
    """Name the task of a run: its config says it, or else the files that only one task writes."""
    if name := (read_config(workdir) or {}).get("task"):
        return name
    kind = (read_known(workdir / LABELS_FOLDER / MANIFEST_FILE) or {}).get("kind")
    evaluations = [read_known(workdir / stage / EVALUATION_FILE) or {} for stage in STAGES]
    for task in TASKS:
        has_labels = task.self_training is not None and task.self_training.label_totals.kind == kind
        if has_labels or any(task.metrics[0].key in evaluation for evaluation in evaluations):
            return task.name
    return TASKS[0].name


def _truth(sources: Sources) -> Callable[[str], Example] | None:
    """Return the function from an unlabelled image to the labels that the teacher was not shown."""
    if (truth := sources.unlabeled_truth) is None:
        return None
    indices = {image_id: index for index, image_id in enumerate(truth.image_ids)}

    def read(image_id: str) -> Example:
        if image_id not in indices:  # labels of another run may be of more images than this run's
            return {"image_id": image_id}
        try:
            return truth.read_labels(indices[image_id])
        except InputError:  # bad labels, which the quality figures skip too and count
            return {"image_id": image_id}

    return read


def augmented_pairs(config: ConfigDict, source: Source, policy: str) -> list[tuple[Example, Example]]:
    """Return (before, after) of the first labelled images under a policy, as the network sees them.

    Of images that are cut into tiles these are some tiles.
    """
    augment = build_augment(config, policy)
    source = cut_tiles(config, subset(source, range(min(NUM_AUGMENTED, len(source)))))
    pairs = []
    for index in spread(len(source), NUM_AUGMENTED):
        before = source.read(index)
        moving = [key for key in ("image", "boxes", "classes", "mask") if key in before]
        tensors = {key: tf.constant(before[key]) for key in moving}
        augmented = augment(tensors, tf.constant([config.seed, index], tf.int32))
        after = {key: augmented[key].numpy() for key in moving}
        after["image"] = _paint_padding(after["image"], augmented["covered_px"].numpy())
        pairs.append((before, cast(Example, {**after, "image_id": before["image_id"]})))
    return pairs


def _paint_padding(image: np.ndarray, covered_px: np.ndarray) -> np.ndarray:
    """Give the padding the mean colour, which it has to the network."""
    height, width = covered_px
    painted = np.full_like(image, np.round(255 * np.array(MEAN_RGB)))
    painted[:height, :width] = image[:height, :width]
    return painted
