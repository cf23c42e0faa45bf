"""AutoAugment's operations inside boxes: the `*_Only_BBoxes` family and BBox_Cutout.

`within_boxes` applies any operation to the content of some boxes; the boxes themselves do not change.
"""

from collections.abc import Callable

import tensorflow as tf
from jaxtyping import Float32, Int32

from selftrain_jax.augment.pixel_ops import erase
from selftrain_jax.augment.tensors import Number, Seed, Tensors, image_size, split_seed

CropOperation = Callable[[Tensors, Seed], Tensors]
"""Changes a crop's `image` (and `mask`, if there is one) without changing its size."""


def within_boxes(tensors: Tensors, probability: Number, operation: CropOperation, seed: Seed) -> Tensors:
    """Apply the operation to the content of each box with the given probability, in random order.

    A box covers rows trunc(ymin) to min(trunc(ymax), H - 1), both included, and columns likewise. The order
    matters where boxes overlap.
    Differs: the mask's crop is transformed like the image's.
    """
    if "boxes" not in tensors:
        return tensors
    order_seed, draw_seed, crop_seed = split_seed(seed, 3)
    num_boxes = tf.shape(tensors["boxes"])[0]
    order = tf.argsort(tf.random.stateless_uniform([num_boxes], order_seed))
    chosen = tf.boolean_mask(order, tf.random.stateless_uniform([num_boxes], draw_seed) < probability)
    pixels = {key: tensors[key] for key in ("image", "mask") if key in tensors}

    def step(index: tf.Tensor, pixels: Tensors) -> tuple[tf.Tensor, Tensors]:
        corners = _pixel_corners(tensors["boxes"][chosen[index]], pixels["image"])
        crop = {key: value[corners[0] : corners[2], corners[1] : corners[3]] for key, value in pixels.items()}
        changed = operation(crop, tf.random.experimental.stateless_fold_in(crop_seed, index))
        return index + 1, {key: _paste(value, changed[key], corners) for key, value in pixels.items()}

    _, pixels = tf.while_loop(lambda index, _: index < tf.size(chosen), step, (tf.constant(0), pixels))
    return {**tensors, **pixels}


def bbox_cutout(tensors: Tensors, pad_frac: Number, seed: Seed) -> Tensors:
    """Erase around a random pixel of a random box; half size = trunc(pad_frac (box size) / 2).

    Images without boxes, and masks, do not change.
    """
    if "boxes" not in tensors:
        return tensors
    image, boxes = tensors["image"], tensors["boxes"]

    def cut() -> tf.Tensor:
        box_seed, center_seed = split_seed(seed, 2)
        index = tf.random.stateless_uniform([], box_seed, 0, tf.shape(boxes)[0], tf.int32)
        corners = _pixel_corners(boxes[index], image)
        size_yx = tf.cast(corners[2:] - corners[:2], tf.float32)
        center = tf.cast(tf.random.stateless_uniform([2], center_seed) * size_yx, tf.int32) + corners[:2]
        return erase(image, center, tf.cast(pad_frac * size_yx / 2.0, tf.int32))

    return {**tensors, "image": tf.cond(tf.shape(boxes)[0] > 0, cut, lambda: image)}


def _pixel_corners(box: Float32[tf.Tensor, "4"], image: tf.Tensor) -> Int32[tf.Tensor, "4"]:
    """Return (top, left, bottom, right) of a box's pixels, the last two exclusive; never empty."""
    height, width = image_size(image)
    last = tf.stack([height - 1, width - 1])
    whole = tf.cast(box, tf.int32)
    top_left = tf.clip_by_value(whole[:2], 0, last)
    return tf.concat([top_left, tf.clip_by_value(whole[2:], top_left, last) + 1], axis=0)


def _paste(image: tf.Tensor, crop: tf.Tensor, corners: Int32[tf.Tensor, "4"]) -> tf.Tensor:
    """Put the crop back where it was cut out."""
    return tf.raw_ops.TensorStridedSliceUpdate(
        input=image, begin=corners[:2], end=corners[2:], strides=[1, 1], value=crop
    )
