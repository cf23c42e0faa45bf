"""The two views of an image that SimCLR compares; call `augment_views`.

Chen et al., "A simple framework for contrastive learning of visual representations" (2020), appendix A, and
their `data_util.py`: random window, flip, colour jitter, grey, blur, each view on its own.
"""

from collections.abc import Callable

import tensorflow as tf
from jaxtyping import Float32

from selftrain_jax.augment.crop import cut, random_window
from selftrain_jax.augment.policies import Augment
from selftrain_jax.augment.tensors import Number, Seed, Tensors, split_seed
from selftrain_jax.errors import InputError

Image = Float32[tf.Tensor, "_H _W 3"]
"""An image with values from 0 to 1."""

Change = Callable[[tf.Tensor, Seed], tf.Tensor]

JITTER_FRAC, GREY_FRAC = 0.8, 0.2  # shares of the views
BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.8, 0.8, 0.8, 0.2  # at strength 1
MAX_STRENGTH = 1.25  # then a factor may be 0
MIN_SIGMA_PX, MAX_SIGMA_PX = 0.1, 2.0
SIZE_OF_BLUR = 10  # the image's side is so many times the blur's kernel


def augment_views(
    *,
    output_size_px: int,
    min_area_frac: float = 0.08,
    flip_frac: float = 0.5,
    jitter_strength: float = 1.0,
    blur_frac: float = 0.5,
) -> Augment:
    """Make the function (tensors, seed) -> tensors whose new `image` has both views, uint8 [2S, S, 3].

    The first view is above the second. Other keys do not change.

    Raises:
        InputError: a value is outside of its range.

    Differs: windows have a log-uniform aspect ratio, and none of the official code's rule that a window
    covers a tenth of the image. Brightness is multiplied, as the code does since SimCLRv2; the paper added.
    """
    _check_settings(min_area_frac, jitter_strength, blur_frac)

    def view(image: tf.Tensor, seed: Seed) -> tf.Tensor:
        window_seed, flip_seed, colour_seed, blur_seed = split_seed(seed, 4)
        window = random_window(tf.shape(image)[:2], window_seed, min_area_frac)
        pixels = tf.cast(cut(image, window, output_size_px), tf.float32) / 255.0
        pixels = _apply(flip_frac, lambda x, _: tf.reverse(x, [1]), pixels, flip_seed)
        pixels = distort_colours(pixels, colour_seed, jitter_strength)
        pixels = _apply(blur_frac, random_blur, pixels, blur_seed)
        return tf.cast(tf.round(255.0 * tf.clip_by_value(pixels, 0.0, 1.0)), tf.uint8)

    @tf.autograph.experimental.do_not_convert
    def apply(tensors: Tensors, seed: Seed) -> Tensors:
        image = tf.ensure_shape(tensors["image"], [None, None, 3])
        both = tf.concat([view(image, own) for own in split_seed(seed, 2)], axis=0)
        return {**tensors, "image": tf.ensure_shape(both, [2 * output_size_px, output_size_px, 3])}

    return apply


def distort_colours(image: Image, seed: Seed, strength: Number) -> Image:
    """Jitter the colours of 4 views in 5, then turn 1 in 5 grey."""
    jitter_seed, grey_seed = split_seed(seed, 2)
    image = _apply(JITTER_FRAC, lambda x, own: jitter_colours(x, own, strength), image, jitter_seed)
    return _apply(GREY_FRAC, lambda x, _: to_grey(x), image, grey_seed)


def jitter_colours(image: Image, seed: Seed, strength: Number) -> Image:
    """Change brightness, contrast, saturation and hue, in random order, clipped to [0, 1] after each.

    The first three by a factor within 1 ± 0.8 strength, the hue by up to 0.2 strength of the circle.
    """
    order_seed, *seeds = split_seed(seed, 5)
    spreads = [tf.cast(strength * full, tf.float32) for full in (BRIGHTNESS, CONTRAST, SATURATION, HUE)]
    draws = [
        spread * tf.random.stateless_uniform([], own, -1.0, 1.0)
        for spread, own in zip(spreads, seeds, strict=True)
    ]
    order = tf.argsort(tf.random.stateless_uniform([4], order_seed))
    for which in tf.unstack(order):
        image = tf.clip_by_value(_change(which, image, draws), 0.0, 1.0)
    return image


def _change(which: tf.Tensor, image: Image, draws: list[tf.Tensor]) -> Image:
    """Make one of the four changes."""
    by_brightness, by_contrast, by_saturation, by_hue = draws
    branches = [
        lambda: image * (1.0 + by_brightness),
        lambda: tf.image.adjust_contrast(image, 1.0 + by_contrast),
        lambda: tf.image.adjust_saturation(image, 1.0 + by_saturation),
        lambda: tf.image.adjust_hue(image, by_hue),
    ]
    return tf.ensure_shape(tf.switch_case(which, branches), image.shape)


def to_grey(image: Image) -> Image:
    """Give all channels the luminance."""
    return tf.repeat(tf.image.rgb_to_grayscale(image), 3, axis=2)


def random_blur(image: Image, seed: Seed) -> Image:
    """Blur with a standard deviation of 0.1 to 2 pixels and a kernel of a tenth of the image's side."""
    sigma_px = tf.random.stateless_uniform([], seed, MIN_SIGMA_PX, MAX_SIGMA_PX)
    return gaussian_blur(image, image.shape[0] // SIZE_OF_BLUR // 2, sigma_px)


def gaussian_blur(image: Image, radius_px: int, sigma_px: Number | tf.Tensor) -> Image:
    """Convolve columns and rows with 2 radius + 1 weights exp(-x² / 2 sigma²) of sum 1; zeros around."""
    x = tf.range(-radius_px, radius_px + 1, dtype=tf.float32)
    weights = tf.exp(-(x**2) / (2.0 * sigma_px**2))
    weights = tf.repeat((weights / tf.reduce_sum(weights))[:, None], 3, axis=1)  # the same for each channel
    blurred = image[None]
    for kernel in (weights[:, None, :, None], weights[None, :, :, None]):
        blurred = tf.nn.depthwise_conv2d(blurred, kernel, [1, 1, 1, 1], "SAME")
    return blurred[0]


def _apply(share: Number, change: Change, image: Image, seed: Seed) -> Image:
    """Change a share of the images, by the seed."""
    chance_seed, own_seed = split_seed(seed, 2)
    is_changed = tf.random.stateless_uniform([], chance_seed) < share
    return tf.cond(is_changed, lambda: change(image, own_seed), lambda: image)


def _check_settings(min_area_frac: float, jitter_strength: float, blur_frac: float) -> None:
    if not 0 < min_area_frac <= 1:
        raise InputError(f"min_area_frac is {min_area_frac:g}; expected a share of the image's area up to 1")
    if not 0 <= jitter_strength <= MAX_STRENGTH:
        raise InputError(
            f"jitter_strength is {jitter_strength:g}; expected 0 (off) to {MAX_STRENGTH:g}, 1 as SimCLR's"
        )
    if not 0 <= blur_frac <= 1:
        raise InputError(f"blur_frac is {blur_frac:g}; expected the share of views to blur, 0 to 1")
