"""Segmentation's part of the composition, beside `build.py` and `build_data.py`: its task, its data sets."""

from ml_collections import ConfigDict

from selftrain_jax.build.data import MASK_KINDS, require_dir
from selftrain_jax.data.source import Source
from selftrain_jax.data.sources.paired_folders import read_mask_folder
from selftrain_jax.data.sources.voc_masks import read_voc_masks, refuse_tfds_masks
from selftrain_jax.demo.builtin import read_builtin_masks
from selftrain_jax.errors import InputError
from selftrain_jax.models.segmenter import make_segmenter
from selftrain_jax.segmentation.task import make_segmentation_task
from selftrain_jax.types import Category, Task


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


def open_masks(config: ConfigDict, group: str, split: str) -> Source:
    """Open images with masks; `group` of the config is data, or unlabeled where its masks are known.

    An empty config.unlabeled.dir stands for config.data.dir.

    Raises:
      InputError: they are missing or malformed, or there are no masks in such a data set.
    """
    data, where = config.data, config[group]
    if where.kind == "builtin":
        num_images, size_px = data.builtin[split], config.image.size_px
        return read_builtin_masks(split, num_images=num_images, seed=config.seed, image_size_px=size_px)
    if where.kind == "tfds":
        refuse_tfds_masks(where.tfds)
    if where.kind not in MASK_KINDS:
        raise InputError(
            f"config.{group}.kind={where.kind!r} of a data set with masks is not one of "
            f"{', '.join(MASK_KINDS)}"
        )
    root = require_dir(where.dir or data.dir, f"config.{group}.dir", "the images and masks")
    if where.kind == "voc":
        return read_voc_masks(root, split, sbd=data.sbd)
    return read_mask_folder(
        root,
        split,
        images=data.images,
        masks=data.masks,
        class_names=tuple(filter(None, data.classes.split(","))),
        values=data.mask_values,
        ignore_value=data.ignore_value,
    )
