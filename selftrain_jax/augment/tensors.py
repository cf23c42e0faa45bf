"""What moves through the augmentations: one image with its labels, as TensorFlow tensors.

Everything in this folder is a pure function of such a dict and of a seed, and runs eagerly or inside
`tf.data` with image sizes and numbers of boxes known only at run time. Start at `policies.augment_policy`.
"""

from typing import TypeAlias

import tensorflow as tf

from selftrain_jax.types import IGNORED

Tensors = dict[str, tf.Tensor]
"""`image` uint8 [H, W, 3]; where known `boxes` float32 [N, 4] (yxyx pixels of this image), the vectors of
`BOX_VECTORS` [N] and `mask` uint8 [H, W] (or IGNORED). Other keys pass through untouched."""

Seed: TypeAlias = tf.Tensor
"""int32 [2], as all of `tf.random.stateless_*` takes it."""

Number: TypeAlias = float | int
"""A static number: for the tests' type checker an int is no float."""

BOX_VECTORS = ("classes", "scores", "is_crowd", "is_ignore")
"""Keys with one value a box: they are dropped with their box."""

IMAGE_FILL = 128
"""Grey that geometric operations and Cutout leave where there is no image."""

MASK_FILL = IGNORED
"""Mask value where there is no image."""


def split_seed(seed: Seed, num: int) -> list[Seed]:
    """Derive `num` independent seeds."""
    return tf.unstack(tf.random.experimental.stateless_split(seed, num), num)


def image_size(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Give height and width as int32 scalars, static or not."""
    shape = tf.shape(image)
    return shape[0], shape[1]


def keep_boxes(tensors: Tensors, keep: tf.Tensor) -> Tensors:
    """Drop the boxes where `keep` [N] is False, and their entries in every per-box vector."""
    kept = {key: tf.boolean_mask(tensors[key], keep) for key in ("boxes", *BOX_VECTORS) if key in tensors}
    return {**tensors, **kept}
