"""The data type of the augmentations: one image with its labels, as a dict of TensorFlow tensors.

The functions in this folder are pure functions of such a dict and a seed. They run eagerly or in `tf.data`,
with image sizes and numbers of boxes known only at run time. Start at `policies.augment_policy`.
"""

from typing import TypeAlias

import tensorflow as tf

from selftrain_jax.types import IGNORED

Tensors = dict[str, tf.Tensor]
"""`image` uint8 [H, W, 3]; where known `boxes` float32 [N, 4] (yxyx pixels of this image), the vectors of
`BOX_VECTORS` [N], `mask` uint8 [H, W] (or IGNORED) and beside a mask `soft_mask` uint8 [H, W, 4] and
`pixel_weight` uint8 [H, W, 1], which move with it. Other keys pass through untouched."""

Seed: TypeAlias = tf.Tensor
"""int32 [2], the seed of `tf.random.stateless_*`."""

Number: TypeAlias = float | int
"""A static number; for the tests' type checker an int is not a float."""

BOX_VECTORS = (
    *("classes", "scores", "is_crowd", "is_ignore"),
    *("box_weight", "class_weight", "class_target"),  # as in `types.BoxTargets`
)
"""Keys with one value for each box, dropped with it."""

IMAGE_FILL = 128
"""Grey value of pixels outside the image and under a Cutout."""

MASK_FILL = IGNORED
"""Mask value outside the image; that of the maps beside it is 0."""

MAPS = ("mask", "soft_mask", "pixel_weight")
"""Keys with a value, or a vector of them, for each pixel."""


def split_seed(seed: Seed, num: int) -> list[Seed]:
    """Derive `num` independent seeds."""
    return tf.unstack(tf.random.experimental.stateless_split(seed, num), num)


def image_size(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return height and width as int32 scalars, static or not."""
    shape = tf.shape(image)
    return shape[0], shape[1]


def keep_boxes(tensors: Tensors, keep: tf.Tensor) -> Tensors:
    """Drop the boxes where `keep` [N] is False, and their entries in `BOX_VECTORS`."""
    kept = {key: tf.boolean_mask(tensors[key], keep) for key in ("boxes", *BOX_VECTORS) if key in tensors}
    return {**tensors, **kept}
