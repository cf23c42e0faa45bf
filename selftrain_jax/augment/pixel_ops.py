"""Operations of AutoAugment and RandAugment that change only colours, from uint8 to uint8.

Call `color`, `equalize`, ... with an image; `operations.py` computes their arguments from a level. Casts
truncate and quirks are kept, so that the results equal the released TensorFlow code's pixel by pixel.
"""

import functools

import tensorflow as tf
from jaxtyping import UInt8

from selftrain_jax.augment.tensors import IMAGE_FILL, Number, Seed, image_size

Image = UInt8[tf.Tensor, "_H _W 3"]


def blend(start: tf.Tensor, end: tf.Tensor, factor: Number) -> tf.Tensor:
    """Mix two images: start + factor (end - start), clipped to [0, 255], truncated; above 1 extrapolates."""
    start, end = tf.cast(start, tf.float32), tf.cast(end, tf.float32)
    return tf.cast(tf.clip_by_value(start + factor * (end - start), 0.0, 255.0), tf.uint8)


def color(image: Image, factor: Number) -> Image:
    """Blend the grey image (factor 0) with the image (1); above 1 saturates its colours."""
    grey = tf.repeat(tf.reshape(tf.image.rgb_to_grayscale(image), [-1]), 3)  # broadcasting 1 to 3 is slow
    return tf.reshape(blend(grey, tf.reshape(image, [-1]), factor), tf.shape(image))


def brightness(image: Image, factor: Number) -> Image:
    """Blend black (factor 0) with the image (1)."""
    return blend(tf.zeros_like(image), image, factor)


def contrast(image: Image, factor: Number) -> Image:
    """Blend a grey with the image; the grey is min(255, trunc(H W / 256)), not the mean intensity.

    This is a mistake of the released code (it averages a histogram's counts), kept because policies were
    searched with it: an image of more than 65,280 pixels is blended with white.
    """
    height, width = image_size(image)
    grey = tf.clip_by_value(tf.cast(height * width, tf.float32) / 256.0, 0.0, 255.0)
    return blend(tf.cast(grey, tf.uint8), image, factor)


def sharpness(image: Image, factor: Number) -> Image:
    """Blend the smoothed image with the image; 3x3 weights (1 1 1; 1 5 1; 1 1 1)/13, the border as it is."""
    height, width = image_size(image)

    def smooth() -> tf.Tensor:  # concatenates: writing into a copy takes 8 ms for 640 x 480
        middle = tf.concat([image[1:-1, :1], _smooth_inner(image), image[1:-1, -1:]], axis=1)
        return tf.concat([image[:1], middle, image[-1:]], axis=0)

    has_inner_pixels = (height > 2) & (width > 2)
    return blend(tf.cond(has_inner_pixels, smooth, lambda: image), image, factor)


def _smooth_inner(image: Image) -> Image:
    """Smooth all pixels but the border, summed in row order: a convolution's would change values by 1."""
    height, width = image_size(image)
    pixels = tf.cast(image, tf.float32)
    light, heavy = pixels * (1.0 / 13.0), pixels * (5.0 / 13.0)
    neighbours = [
        (heavy if (y, x) == (1, 1) else light)[y : height - 2 + y, x : width - 2 + x]
        for y in range(3)
        for x in range(3)
    ]
    return tf.cast(tf.clip_by_value(functools.reduce(tf.add, neighbours), 0.0, 255.0), tf.uint8)


def autocontrast(image: Image) -> Image:
    """Stretch each channel's values to [0, 255]; a channel with a single value does not change."""
    low = tf.cast(tf.reduce_min(image, (0, 1)), tf.float32)
    high = tf.cast(tf.reduce_max(image, (0, 1)), tf.float32)
    scale = tf.where(high > low, 255.0 / tf.maximum(high - low, 1.0), 1.0)
    shift = tf.where(high > low, -low * scale, 0.0)
    height, width = image_size(image)
    rows = tf.reshape(tf.cast(image, tf.float32), [height, width * 3])  # broadcasting 3 channels is slow
    stretched = rows * tf.tile(scale, [width]) + tf.tile(shift, [width])
    return tf.reshape(tf.cast(tf.clip_by_value(stretched, 0.0, 255.0), tf.uint8), [height, width, 3])


def equalize(image: Image) -> Image:
    """Equalise each channel's histogram h with the table lut[k] = (sum_{j<k} h[j] + step//2) // step.

    `step` is (all pixels - those of the highest value present) // 255; if 0, the channel does not change.
    """
    height, width = image_size(image)
    rows = tf.reshape(tf.cast(image, tf.int32), [height, width * 3])  # broadcasting 3 channels is slow
    by_channel = tf.reshape(rows + tf.tile([0, 256, 512], [width]), [height, width, 3])
    histogram = tf.reshape(tf.math.bincount(by_channel, minlength=768, maxlength=768), [3, 256])
    brightest = tf.cast(tf.reduce_max(image, (0, 1)), tf.int32)
    num_brightest = tf.gather(histogram, brightest, axis=1, batch_dims=1)
    step = (tf.reduce_sum(histogram, 1) - num_brightest)[:, None] // 255
    table = (tf.cumsum(histogram, axis=1, exclusive=True) + step // 2) // tf.maximum(step, 1)
    table = tf.where(step > 0, tf.clip_by_value(table, 0, 255), tf.range(256))
    return tf.gather(tf.cast(tf.reshape(table, [768]), tf.uint8), by_channel)


def posterize(image: Image, bits: int) -> Image:
    """Keep the highest `bits` bits of each value."""
    shift = tf.constant(8 - bits, tf.uint8)
    return tf.bitwise.left_shift(tf.bitwise.right_shift(image, shift), shift)


def invert(image: Image) -> Image:
    """Turn x into 255 - x."""
    return 255 - image


def solarize(image: Image, threshold: int) -> Image:
    """Invert the values from `threshold` up; as the released code compares in uint8, it wraps modulo 256.

    So 256 (level 10) inverts the whole image instead of nothing, and 384 (level 15) is 128.
    """
    mask = 255 * tf.cast(image >= threshold % 256, tf.uint8)
    return tf.bitwise.bitwise_xor(image, mask)  # x ^ 255 = 255 - x


def solarize_add(image: Image, addition: int, threshold: int = 128) -> Image:
    """Add `addition` (0 or more) to the values below `threshold`, clipped to 255."""
    added = tf.minimum(255 - image, tf.constant(min(addition, 255), tf.uint8))
    return image + added * tf.cast(image < threshold, tf.uint8)


def erase(image: Image, center_yx: tf.Tensor, half_size_yx_px: tf.Tensor) -> Image:
    """Fill the rows and columns in [center - half size, center + half size) with grey 128."""
    low = tf.maximum(center_yx - half_size_yx_px, 0)
    high = tf.minimum(center_yx + half_size_yx_px, tf.shape(image)[:2])
    grey = tf.fill(tf.concat([high - low, [3]], axis=0), tf.constant(IMAGE_FILL, tf.uint8))
    return tf.raw_ops.TensorStridedSliceUpdate(input=image, begin=low, end=high, strides=[1, 1], value=grey)


def cutout(image: Image, half_size_px: tf.Tensor | int, seed: Seed) -> Image:
    """Erase a square of side 2 `half_size_px`, clipped to the image, around a random pixel.

    Boxes and mask do not change (see `operations`).
    """
    height, width = image_size(image)
    center_frac = tf.random.stateless_uniform([2], seed)
    center_yx = tf.cast(center_frac * tf.cast([height, width], tf.float32), tf.int32)
    return erase(image, center_yx, tf.stack([half_size_px, half_size_px]))
