"""Pairs of views on their way into batches: `view_batches` to train, `views_in_order` to evaluate."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from contextlib import closing

import numpy as np
import tensorflow as tf
from jaxtyping import UInt8
from ml_collections import ConfigDict

from selftrain_jax.augment.contrastive_views import augment_views
from selftrain_jax.augment.crop import MAX_ASPECT_RATIO
from selftrain_jax.augment.policies import Augment
from selftrain_jax.data.batch_timeout import with_timeout
from selftrain_jax.data.pipeline import (
    Reader,
    TargetSpec,
    Tensors,
    iterate_batches,
    load_examples,
    make_batches,
)
from selftrain_jax.data.sampling import Permutation, raw_permutation
from selftrain_jax.data.source import Source, cached
from selftrain_jax.errors import InputError
from selftrain_jax.types import Batch, Batches, BatchStream, ClassTargets, Example

NO_CLASS = -1
MIN_WINDOW_PX = 4  # two windows of fewer pixels have next to nothing in common

NO_TARGETS = TargetSpec(
    signature={"class": tf.TensorSpec([], tf.int32)},
    read=lambda example, where: {"class": np.array(NO_CLASS, np.int32)},
    to_targets=lambda tensors: ClassTargets(tensors["class"]),
)


def build_augment(config: ConfigDict) -> Augment:
    """Return the augmentation of config.pretrain.

    Raises:
        InputError: a value is outside of its range.
    """
    settings = config.pretrain
    return augment_views(
        output_size_px=config.image.size_px,
        min_area_frac=settings.min_area_frac,
        flip_frac=config.augment.flip_frac,
        jitter_strength=settings.simclr.jitter_strength,
        blur_frac=settings.simclr.blur_frac,
    )


def view_batches(
    config: ConfigDict,
    source: Source,
    *,
    seed: int,
    permutation: Permutation = raw_permutation,
    place: Callable[[Batch], Batch] = lambda batch: batch,
) -> Batches:
    """Stream batches of pairs of views, [B, 2S, S, 3], without classes.

    `permutation` is as in `make_examples`, `place` as in `batch_examples`.
    """
    large = without_small_images(source, config.pretrain.min_area_frac)
    return make_batches(
        cached(large, float(config.data.cache_mib)),
        NO_TARGETS,
        augment=build_augment(config),
        batch_size=config.pretrain.batch_size,
        seed=seed,
        max_bad_images=config.data.max_bad_images,
        max_stall_secs=float(config.data.max_stall_secs),
        permutation=permutation,
        place=place,
    )


def views_in_order(
    config: ConfigDict, source: Source, *, batch_size: int, num_batches: int, seed: int
) -> BatchStream:
    """Yield pairs of views of the first images of a source, the same each time, all on this host.

    Raises:
        InputError: too many images do not decode, or are too small.
        RunAgainError: a batch took longer than config.data.max_stall_secs.
    """
    large = without_small_images(source, config.pretrain.min_area_frac)
    reader = Reader(large, max_bad_images=config.data.max_bad_images)
    augment = build_augment(config)

    def read(position: int) -> tuple[int, Mapping[str, np.ndarray]]:
        index, example = reader(position)
        return index, {**NO_TARGETS.read(example, ""), "image": example["image"]}

    def transform(tensors: Tensors, position: tf.Tensor) -> Tensors:
        return augment(tensors, tf.stack([tf.constant(seed, tf.int32), tf.cast(position, tf.int32)]))

    failures: list[InputError] = []
    positions = tf.data.Dataset.range(batch_size * num_batches)
    examples = load_examples(positions, read, NO_TARGETS, transform, failures)
    batches = iterate_batches(examples, np.zeros(batch_size, bool), failures)
    stall_secs = float(config.data.max_stall_secs)
    with closing(with_timeout(stall_secs, batches, reader.reading.describe)) as timed:
        for batch, indices in timed:
            yield batch, [source.image_ids[index] for index in indices]


def without_small_images(source: Source, min_area_frac: float) -> Source:
    """Make an image unreadable whose smallest window would be narrower than 4 pixels.

    As other images that cannot be read, such images are skipped, up to config.data.max_bad_images of them.
    Labels are left out.
    """
    share = math.sqrt(min_area_frac / MAX_ASPECT_RATIO)

    def read_image(index: int) -> UInt8[np.ndarray, "H W 3"]:
        image = source.read_image(index)
        height, width = image.shape[:2]
        if share * math.sqrt(height * width) < MIN_WINDOW_PX or min(height, width) < MIN_WINDOW_PX:
            raise InputError(
                f"{source.image_ids[index]} has {height} x {width} pixels, too few for windows of "
                f"{100 * min_area_frac:g} % of its area; leave it out, or raise config.pretrain.min_area_frac"
            )
        return image

    return dataclasses.replace(source, read_image=read_image, read_labels=_no_labels(source))


def _no_labels(source: Source) -> Callable[[int], Example]:
    return lambda index: {"image_id": source.image_ids[index]}
