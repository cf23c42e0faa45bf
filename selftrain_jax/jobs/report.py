"""`--job=report`: report.html from what a work folder holds; pictures come from the run's own data."""

import pathlib
from collections.abc import Callable
from typing import cast

import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from selftrain_jax.augment.resize import MEAN_RGB, STDDEV_RGB
from selftrain_jax.build.data import Sources, build_augment, build_sources
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.report.page import ReportImages, write_report
from selftrain_jax.tasks.config_values import class_thresholds_by_name
from selftrain_jax.tasks.detection.pseudo.source import read_pseudo_labels
from selftrain_jax.tasks.segmentation.pseudo.source import read_raw_masks
from selftrain_jax.tasks.segmentation.report.page import MaskReportImages, read_predicted
from selftrain_jax.types import Example

POLICIES = ("s1", "s2", "s3", "s4")
NUM_AUGMENTED = 4


def run_report(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Write `<workdir>/report.html`; stages that are not there yet are said to be so.

    Raises:
        InputError: the data set of the config or a file of the run is missing or broken.
    """
    sources = build_sources(config)
    workdir.mkdir(parents=True, exist_ok=True)
    gather = _mask_images if config.task == "segmentation" else _box_images
    path = write_report(workdir, images=gather(config, workdir, sources))
    print(f"report: {path}")


def _box_images(config: ConfigDict, workdir: pathlib.Path, sources: Sources) -> ReportImages:
    pseudo = None
    if (workdir / "pseudo_labels" / "manifest.json").exists():
        pseudo = read_pseudo_labels(workdir / "pseudo_labels", threshold=config.pseudo.score_floor)
    return ReportImages(
        test_source=sources.test,
        pseudo_source=pseudo,
        pseudo_truth=_truth(sources),
        augmented={policy: augmented_pairs(config, sources.human, policy) for policy in POLICIES},
        threshold=config.pseudo.threshold,
    )


def _mask_images(config: ConfigDict, workdir: pathlib.Path, sources: Sources) -> MaskReportImages:
    pseudo = None
    if (workdir / "pseudo_labels" / "manifest.json").exists():
        pseudo = read_raw_masks(workdir / "pseudo_labels", verify_digests=False)
    return MaskReportImages(
        test_source=sources.test,
        pseudo_raw=pseudo,
        pseudo_truth=_truth(sources),
        augmented={policy: augmented_pairs(config, sources.human, policy) for policy in POLICIES},
        threshold=config.pseudo.threshold,
        predicted=read_predicted(workdir),
        class_thresholds=class_thresholds_by_name(config),
    )


def _truth(sources: Sources) -> Callable[[str], Example] | None:
    """Return the function from an unlabelled image to the labels that the teacher was not shown."""
    truth = sources.unlabeled_truth
    if truth is None:
        return None
    places = {image_id: index for index, image_id in enumerate(truth.image_ids)}

    def read(image_id: str) -> Example:
        try:
            return truth.read_labels(places[image_id])
        except InputError:  # a bad mask, which the quality figures pass over too and count
            return {"image_id": image_id}

    return read


def augmented_pairs(config: ConfigDict, source: Source, policy: str) -> list[tuple[Example, Example]]:
    """Return (before, after) of the first labelled images under a policy, as the network sees them."""
    augment = build_augment(config, policy)
    moving = ("image", "mask") if config.task == "segmentation" else ("image", "boxes", "classes")
    pairs = []
    for index in range(min(NUM_AUGMENTED, len(source))):
        before = source.read(index)
        tensors = {key: tf.constant(before[key]) for key in moving}  # type: ignore[literal-required]
        found = augment(tensors, tf.constant([config.seed, index], tf.int32))
        after = {key: found[key].numpy() for key in moving}
        after |= {"image_id": before["image_id"], "image": _to_uint8(after["image"])}
        pairs.append((before, cast(Example, after)))
    return pairs


def _to_uint8(image: np.ndarray) -> np.ndarray:
    """Undo the normalisation; padding, which is zero, becomes the mean colour."""
    pixels = (image * np.array(STDDEV_RGB) + np.array(MEAN_RGB)) * 255
    return np.clip(np.round(pixels), 0, 255).astype(np.uint8)
