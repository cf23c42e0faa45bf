"""Square crops for classification: `augment_crop` for training, `centre_crop` for evaluation.

For "ImageNet Init" and the second stream of joint training (Table 7). The paper uses published classifiers;
the crops are those of EfficientNet's training code: in training a window of 8 to 100 % of the area, in
evaluation a centred square of size / (size + 32) of the short side, both resized bicubically.
"""

import math

import tensorflow as tf
from jaxtyping import Int32, UInt8

from selftrain_jax.augment.policies import Augment, augment_uint8
from selftrain_jax.augment.tensors import Number, Seed, Tensors, split_seed
from selftrain_jax.errors import InputError

POLICIES = {"none": "s1", "randaugment": "s4"}
MAX_ASPECT_RATIO = 4 / 3
NUM_ATTEMPTS = 10
EVALUATION_MARGIN_PX = 32


def augment_crop(
    policy: str = "none",
    *,
    output_size_px: int,
    min_area_frac: float = 0.08,
    magnitude: Number = 10,
    num_layers: int = 1,
    reference_size_px: int | None = None,
    flip_frac: float = 0.5,
) -> Augment:
    """Make the function (tensors, seed) -> tensors: random window, flip, RandAugment if asked.

    The new `image` is uint8 [S, S, 3]; other keys do not change.

    Raises:
        InputError: the policy is unknown, or the share of the area is outside (0, 1].

    Differs: "randaugment" has the ten operations for detection, not those for classification.
    """
    if policy not in POLICIES:
        raise InputError(f"augmentation {policy!r} is not one of {', '.join(POLICIES)}")
    if not 0 < min_area_frac <= 1:
        raise InputError(f"min_area_frac is {min_area_frac:g}; expected a share of the image's area up to 1")
    augment = augment_uint8(POLICIES[policy], magnitude, num_layers, reference_size_px=reference_size_px)

    @tf.autograph.experimental.do_not_convert
    def apply(tensors: Tensors, seed: Seed) -> Tensors:
        window_seed, flip_seed, augment_seed = split_seed(seed, 3)
        image = tf.ensure_shape(tensors["image"], [None, None, 3])
        image = cut(image, random_window(tf.shape(image)[:2], window_seed, min_area_frac), output_size_px)
        is_flipped = tf.random.stateless_uniform([], flip_seed) > 1 - flip_frac
        image = tf.cond(is_flipped, lambda: tf.reverse(image, [1]), lambda: image)
        image = augment({"image": image}, augment_seed)["image"]
        return {**tensors, "image": tf.ensure_shape(image, [output_size_px, output_size_px, 3])}

    return apply


def random_window(size_yx: Int32[tf.Tensor, "2"], seed: Seed, min_area_frac: float) -> Int32[tf.Tensor, "4"]:
    """Draw (top, left, height, width): uniform area, log-uniform aspect ratio from 3/4 to 4/3.

    It is the first of 10 draws that fits into the image; if none does, the centred square of the short side.
    """
    area_seed, ratio_seed, position_seed = split_seed(seed, 3)
    area = tf.cast(size_yx[0] * size_yx[1], tf.float32)
    areas = area * tf.random.stateless_uniform([NUM_ATTEMPTS], area_seed, min_area_frac, 1.0)
    limit = math.log(MAX_ASPECT_RATIO)
    ratios = tf.exp(tf.random.stateless_uniform([NUM_ATTEMPTS], ratio_seed, -limit, limit))
    drawn = tf.cast(tf.round(tf.sqrt(tf.stack([areas / ratios, areas * ratios], axis=1))), tf.int32)
    drawn = tf.maximum(drawn, 1)
    fits = tf.reduce_all(drawn <= size_yx, axis=1)
    sides = drawn[tf.argmax(tf.cast(fits, tf.int32))]
    position_frac = tf.random.stateless_uniform([2], position_seed)
    start = tf.cast(position_frac * tf.cast(size_yx - sides + 1, tf.float32), tf.int32)
    random = tf.concat([tf.minimum(start, size_yx - sides), sides], axis=0)
    return tf.where(tf.reduce_any(fits), random, centre_window(size_yx, tf.reduce_min(size_yx)))


def centre_window(size_yx: Int32[tf.Tensor, "2"], side_px: Int32[tf.Tensor, ""]) -> Int32[tf.Tensor, "4"]:
    """Return (top, left, height, width) of the centred square; an odd pixel remains below and right."""
    return tf.concat([(size_yx - side_px + 1) // 2, [side_px, side_px]], axis=0)


def centre_crop(image: UInt8[tf.Tensor, "_H _W 3"], *, output_size_px: int) -> UInt8[tf.Tensor, "_S _S 3"]:
    """Cut out the centred square of S / (S + 32) of the short side and resize it to [S, S]."""
    short_side = tf.cast(tf.reduce_min(tf.shape(image)[:2]), tf.float32)
    share = output_size_px / (output_size_px + EVALUATION_MARGIN_PX)
    side_px = tf.maximum(tf.cast(short_side * share, tf.int32), 1)
    window = centre_window(tf.shape(image)[:2], side_px)
    return tf.ensure_shape(cut(image, window, output_size_px), [output_size_px, output_size_px, 3])


def cut(
    image: UInt8[tf.Tensor, "_H _W 3"], window: Int32[tf.Tensor, "4"], size_px: int
) -> UInt8[tf.Tensor, "_S _S 3"]:
    """Resize a window to a square, bicubically with half-pixel centres; round to uint8."""
    top, left, height, width = tf.unstack(window)
    inside = image[top : top + height, left : left + width]
    resized = tf.image.resize(inside, [size_px, size_px], tf.image.ResizeMethod.BICUBIC)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0.0, 255.0), tf.uint8)
