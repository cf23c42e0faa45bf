"""Scale jitter, crop and padding to the network's input; call `resize_and_crop`.

`legacy_bilinear_window` and `legacy_nearest_window` are TensorFlow 1's resizes (source = target * in / out,
no half-pixel centres, no antialias), computed for the window only.
"""

import tensorflow as tf
from jaxtyping import Float32, Int32, UInt8

from selftrain_jax.augment.tensors import MAPS, MASK_FILL, Number, Tensors, keep_boxes

PART_FROM = 1.5  # (resized area / window area) from which it is faster to resize only a part


def resize_and_crop(
    tensors: Tensors, *, output_size_px: int, jitter: tf.Tensor | Number, crop_yx_frac: tf.Tensor
) -> Tensors:
    """Fit the image into a square of round(jitter S), cut out a window of at most S, and pad it to [S, S].

    scale = min over axes of round(jitter S)/size; scaled = round(size scale), halves to even;
    offset = trunc(max(0, scaled - S) crop_yx_frac); network px = original px * scaled/size - offset.
    Small images are enlarged. Boxes are clipped to [0, S - 1]; empty ones are dropped with all their entries.
    Adds `covered_px` (int32 [2], yx), what the window covers of the square from the corner on, and `scale`
    and `offset` (float32 [2], yx).

    Differs: the released code normalises first and resizes in float32 without rounding. Here the resized
    image is rounded to whole pixel values, once, so that it travels to the devices as bytes; it is normalised
    there (`models.input_normalization`). That changes a value by half a level of 255 at most, as resizing is
    linear with weights of sum 1; padding is 0 either way. A side is never smaller than 1 px. The mask is
    resized to the image's `scaled`; the released code uses trunc(scale size), which in float32 is a pixel
    less for up to 13 % of the jitters of usual sizes, so that the mask is shifted by up to 1 px.
    """
    size = tf.cast(tf.shape(tensors["image"])[:2], tf.float32)
    scaled = tf.maximum(tf.round(size * tf.reduce_min(tf.round(jitter * float(output_size_px)) / size)), 1.0)
    scale = scaled / size
    offset = tf.cast(tf.maximum(scaled - output_size_px, 0.0) * crop_yx_frac, tf.int32)
    scaled_px = tf.cast(scaled, tf.int32)
    window = round_pixels(legacy_bilinear_window(tensors["image"], scaled_px, offset, output_size_px))
    resized = {**tensors, "scale": scale, "offset": tf.cast(offset, tf.float32)}
    resized |= {"image": _pad(window, output_size_px, 0), "covered_px": tf.shape(window)[:2]}
    if "mask" in tensors:
        mask = legacy_nearest_window(tensors["mask"], scaled_px, offset, output_size_px)
        resized["mask"] = _pad(mask, output_size_px, MASK_FILL)
    for key in (key for key in MAPS if key != "mask" and key in tensors):
        window = legacy_nearest_window(tensors[key], scaled_px, offset, output_size_px)
        resized[key] = _pad(window, output_size_px, 0)
    return _transform_boxes(resized, output_size_px) if "boxes" in tensors else resized


def round_pixels(pixels: Float32[tf.Tensor, "_h _w 3"]) -> UInt8[tf.Tensor, "_h _w 3"]:
    """Round values from 0 to 255 to the nearest whole ones, halves to even."""
    return tf.cast(tf.round(pixels), tf.uint8)


def legacy_bilinear_window(
    image: UInt8[tf.Tensor, "_H _W 3"],
    scaled_yx: Int32[tf.Tensor, "2"],
    offset: Int32[tf.Tensor, "2"],
    size_px: int,
) -> Float32[tf.Tensor, "_h _w 3"]:
    """Resize to `scaled_yx` and cut to [offset, offset + size_px), with the exact values of TensorFlow 1.

    If the window is a small part, only its rows are resized horizontally, and only its columns vertically;
    else it is faster to resize the whole image and cut. The values are the same.
    """

    def whole() -> tf.Tensor:
        y, x = offset[0], offset[1]
        return _legacy_bilinear(image, scaled_yx)[y : y + size_px, x : x + size_px]

    def part() -> tf.Tensor:
        y = _window(offset[0], scaled_yx[0], size_px)
        position = tf.cast(y, tf.float32) * _ratio(tf.shape(image)[0], scaled_yx[0])
        above = tf.cast(tf.floor(position), tf.int32)
        below = tf.minimum(above + 1, tf.shape(image)[0] - 1)
        weight = (position - tf.cast(above, tf.float32))[:, None, None]
        rows = image[above[0] : below[-1] + 1]
        wide = _legacy_bilinear(rows, tf.stack([tf.shape(rows)[0], scaled_yx[1]]))
        wide = wide[:, offset[1] : offset[1] + size_px]
        top, bottom = tf.gather(wide, above - above[0]), tf.gather(wide, below - above[0])
        return top + (bottom - top) * weight

    is_small_part = tf.reduce_prod(tf.cast(scaled_yx, tf.float32)) > PART_FROM * size_px**2
    return tf.cond(is_small_part, part, whole)


def _legacy_bilinear(image: tf.Tensor, scaled_yx: tf.Tensor) -> tf.Tensor:
    return tf.raw_ops.ResizeBilinear(images=image[None], size=scaled_yx)[0]


def legacy_nearest_window(
    mask: UInt8[tf.Tensor, "_H _W *_V"],
    scaled_yx: Int32[tf.Tensor, "2"],
    offset: Int32[tf.Tensor, "2"],
    size_px: int,
) -> UInt8[tf.Tensor, "_h _w *_V"]:
    """Resize to `scaled_yx` by source floor(target * in / out), and cut to [offset, offset + size_px)."""
    for axis in (0, 1):
        target = tf.cast(_window(offset[axis], scaled_yx[axis], size_px), tf.float32)
        size = tf.shape(mask)[axis]
        source = tf.cast(tf.floor(target * _ratio(size, scaled_yx[axis])), tf.int32)
        mask = tf.gather(mask, tf.minimum(source, size - 1), axis=axis)
    return mask


def _window(offset: tf.Tensor, scaled: tf.Tensor, size_px: int) -> tf.Tensor:
    """Return the positions of the resized axis that are in the window."""
    return tf.range(offset, tf.minimum(offset + size_px, scaled))


def _ratio(size: tf.Tensor, scaled: tf.Tensor) -> tf.Tensor:
    return tf.cast(size, tf.float32) / tf.cast(scaled, tf.float32)


def _pad(window: tf.Tensor, size_px: int, value: Number) -> tf.Tensor:
    """Pad below and to the right to a square, whose shape is static."""
    missing = size_px - tf.shape(window)[:2]
    paddings = [[0, missing[0]], [0, missing[1]], [0, 0]][: window.shape.rank]
    padded = tf.pad(window, paddings, constant_values=tf.cast(value, window.dtype))
    return tf.ensure_shape(padded, [size_px, size_px, *window.shape[2:]])


def _transform_boxes(tensors: Tensors, size_px: int) -> Tensors:
    """Transform the boxes to network px and drop the empty ones."""
    scale, offset = tf.tile(tensors["scale"], [2]), tf.tile(tensors["offset"], [2])
    boxes = tf.clip_by_value(tensors["boxes"] * scale - offset, 0.0, size_px - 1.0)
    return keep_boxes({**tensors, "boxes": boxes}, tf.reduce_all(boxes[:, 2:] > boxes[:, :2], axis=1))
