"""Corrections as the student meets them: reviewed images leave its pseudo labels and join its human ones."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from selftrain_jax.data.source import Source, subset
from selftrain_jax.errors import InputError
from selftrain_jax.run_files.corrections import ReviewedImage
from selftrain_jax.types import Example


def split_reviewed(pseudo: Source, reviewed: Mapping[str, ReviewedImage]) -> tuple[Source, Source | None]:
    """Split pseudo-labelled images into those that stay so and those with a person's labels.

    The second source is None where none of its images was reviewed.

    Raises:
        InputError: every image was reviewed.
    """
    is_human = [image_id in reviewed for image_id in pseudo.image_ids]
    human = [index for index, found in enumerate(is_human) if found]
    if not human:
        return pseudo, None
    if len(human) == len(pseudo):
        raise InputError(
            f"all {len(human)} images of {pseudo.name} have been corrected by hand: no pseudo label is left "
            "to train a student on. Add the corrected images to the labelled ones (--job=export_labels "
            "leaves them out), or add unlabelled images."
        )
    rest = subset(pseudo, [index for index, found in enumerate(is_human) if not found])
    images = subset(pseudo, human, f"{pseudo.name}, {len(human)} reviewed")
    labels = [human_labels(reviewed[image_id]) for image_id in images.image_ids]
    return rest, dataclasses.replace(images, read_labels=labels.__getitem__)


def human_labels(image: ReviewedImage) -> Example:
    """Return a reviewed image's labels, as those of a human-labelled image.

    What was removed is background, or with `removed` "ignore" neither that nor an object.
    """
    kept = [box for box in image.boxes if box.outcome != "removed" or image.removed == "ignore"]
    return {
        "image_id": image.image_id,
        "boxes": np.array([box.box for box in kept], np.float32).reshape(-1, 4),
        "classes": np.array([box.class_id for box in kept], np.int32),
        "is_crowd": np.zeros(len(kept), bool),
        "is_ignore": np.array([box.outcome == "removed" for box in kept], bool),
    }
