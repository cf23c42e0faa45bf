"""Classified images, as config.data and config.joint name them; call `open_split`, then `class_batches`."""

import pathlib
from collections.abc import Callable

from ml_collections import ConfigDict

from selftrain_jax.data.sampling import Permutation, raw_permutation
from selftrain_jax.data.source import Source, cached
from selftrain_jax.data.sources.image_folder import read_class_folder
from selftrain_jax.errors import InputError
from selftrain_jax.types import Batch, Batches

KINDS = ("folder", "tfds", "auto")


def open_split(config: ConfigDict, group: str, split: str) -> Source:
    """Open a split of classified images; `group` of the config is data or joint.

    Raises:
        InputError: it is missing or malformed.
    """
    where = config[group]
    kind = where.kind
    if kind == "auto":
        kind = "folder" if where.dir else "tfds"
    if kind == "folder":
        if not where.dir:
            raise InputError(f"config.{group}.dir is empty; name the folder that holds {split}/<class>/*.jpg")
        return read_class_folder(pathlib.Path(where.dir) / split)
    if kind == "tfds":
        from selftrain_jax.data.sources.tfds import read_tfds_classes

        split = {"val": "validation"}.get(split, split)  # as TFDS calls it
        return read_tfds_classes(where.tfds, split, data_dir=where.dir or None)
    raise InputError(
        f"config.{group}.kind={where.kind!r} of classified images is not one of {', '.join(KINDS)}"
    )


def class_batches(
    config: ConfigDict,
    settings: ConfigDict,
    source: Source,
    *,
    size_px: int,
    seed: int,
    permutation: Permutation = raw_permutation,
    place: Callable[[Batch], Batch] = lambda batch: batch,
) -> Batches:
    """Stream augmented crops with their classes; `settings` is config.pretrain or config.joint.

    `place` puts batches on the devices, as in `batch_examples`.
    """
    from selftrain_jax.augment.crop import augment_crop
    from selftrain_jax.data.pipeline import make_batches
    from selftrain_jax.tasks.classification.targets import CLASS_TARGETS

    augment = augment_crop(
        settings.augment,
        output_size_px=size_px,
        min_area_frac=settings.min_area_frac,
        magnitude=config.augment.magnitude,
        num_layers=config.augment.num_layers,
        reference_size_px=config.augment.reference_size_px or None,
        flip_frac=config.augment.flip_frac,
    )
    return make_batches(
        cached(source, float(config.data.cache_mib)),
        CLASS_TARGETS,
        augment=augment,
        batch_size=settings.batch_size,
        seed=seed,
        max_bad_images=config.data.max_bad_images,
        max_stall_secs=float(config.data.max_stall_secs),
        permutation=permutation,
        place=place,
    )
