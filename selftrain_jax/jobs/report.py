"""`--job=report`: report.html from what a work folder holds; pictures come from the run's own data."""

import pathlib

import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from selftrain_jax.augment.resize import MEAN_RGB, STDDEV_RGB
from selftrain_jax.build_data import Sources, build_augment, build_sources
from selftrain_jax.data.source import Source
from selftrain_jax.report.page import ReportImages, write_report
from selftrain_jax.selftrain.pseudo_source import read_pseudo_labels
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
    path = write_report(workdir, images=_images(config, workdir, sources))
    print(f"report: {path}")


def _images(config: ConfigDict, workdir: pathlib.Path, sources: Sources) -> ReportImages:
    pseudo = None
    if (workdir / "pseudo_labels" / "manifest.json").exists():
        pseudo = read_pseudo_labels(workdir / "pseudo_labels", threshold=config.pseudo.score_floor)
    truth = sources.unlabeled_truth
    places = {} if truth is None else {image_id: index for index, image_id in enumerate(truth.image_ids)}
    return ReportImages(
        test_source=sources.test,
        pseudo_source=pseudo,
        pseudo_truth=None if truth is None else lambda image_id: truth.read_labels(places[image_id]),
        augmented={policy: augmented_pairs(config, sources.human, policy) for policy in POLICIES},
        threshold=config.pseudo.threshold,
    )


def augmented_pairs(config: ConfigDict, source: Source, policy: str) -> list[tuple[Example, Example]]:
    """Return (before, after) of the first labelled images under a policy, as the network sees them."""
    augment = build_augment(config, policy)
    pairs = []
    for index in range(min(NUM_AUGMENTED, len(source))):
        before = source.read(index)
        tensors = {key: tf.constant(before[key]) for key in ("image", "boxes", "classes")}
        after = augment(tensors, tf.constant([config.seed, index], tf.int32))
        example: Example = {
            "image_id": before["image_id"],
            "image": _to_uint8(after["image"].numpy()),
            "boxes": after["boxes"].numpy(),
            "classes": after["classes"].numpy(),
        }
        pairs.append((before, example))
    return pairs


def _to_uint8(image: np.ndarray) -> np.ndarray:
    """Undo the normalisation; padding, which is zero, becomes the mean colour."""
    pixels = (image * np.array(STDDEV_RGB) + np.array(MEAN_RGB)) * 255
    return np.clip(np.round(pixels), 0, 255).astype(np.uint8)
