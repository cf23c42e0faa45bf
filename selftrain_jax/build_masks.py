"""Segmentation's part of the composition, beside `build.py` and `build_data.py`: its task, its data sets."""

import pathlib

from ml_collections import ConfigDict

from selftrain_jax.data.builtin import read_builtin_masks
from selftrain_jax.data.mask_folder import read_mask_folder
from selftrain_jax.data.source import Source
from selftrain_jax.data.voc_masks import read_voc_masks, refuse_tfds_masks
from selftrain_jax.errors import InputError
from selftrain_jax.models.segmenter import make_segmenter
from selftrain_jax.segmentation.task import make_segmentation_task
from selftrain_jax.types import Category, Task

KINDS = ("builtin", "voc", "folder")


def build_segmentation_task(config: ConfigDict, categories: tuple[Category, ...]) -> Task:
    """Return the segmenter's init, loss and predict for these classes.

    Raises:
      InputError: config.model names a network that does not exist or values that do not go together.
    """
    fields = config.model.to_dict()
    del fields["anchor_size"]
    num_classes = max(category.id for category in categories) + 1
    try:
        model = make_segmenter(num_classes=num_classes, **fields)
    except InputError as error:
        raise InputError(f"config.model: {error}") from None
    return make_segmentation_task(
        model=model,
        image_size_px=config.image.size_px,
        loss_resolution=config.segmentation.loss_resolution,
    )


def open_masks(config: ConfigDict, where: ConfigDict, split: str) -> Source:
    """Open images with masks; `where` is config.data, or config.unlabeled where its masks are known.

    Raises:
      InputError: they are missing or malformed, or there are no masks in such a data set.
    """
    data, root = config.data, pathlib.Path(where.dir or config.data.dir)
    if where.kind == "builtin":
        num_images, size_px = data.builtin[split], config.image.size_px
        return read_builtin_masks(split, num_images=num_images, seed=config.seed, image_size_px=size_px)
    if where.kind == "voc":
        return read_voc_masks(root, split, sbd=data.sbd)
    if where.kind == "folder":
        return read_mask_folder(
            root,
            split,
            images=data.images,
            masks=data.masks,
            class_names=tuple(filter(None, data.classes.split(","))),
            values=data.mask_values,
            ignore_value=data.ignore_value,
        )
    if where.kind in ("tfds", "auto"):
        refuse_tfds_masks(where.tfds)
    raise InputError(f"kind={where.kind!r} of a data set with masks is not one of {', '.join(KINDS)}")
