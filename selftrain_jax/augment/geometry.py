"""AutoAugment's operations that move pixels, boxes and mask together.

Call `rotate`, `shear_x`, `translate_y`, `flip_horizontal`, ... with the tensors of one image. Each output
pixel is the nearest input pixel (halves away from zero); outside, the image is 128 and the mask 255.

As in the released code, boxes are truncated to whole pixels before and after they move, and a box that leaves
the image remains as a thin phantom on its border (`_clip_boxes`).
Differs: boxes are always in pixels; the released code has fractions of the image and may lose a pixel when it
multiplies them in float32.
"""

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import tensorflow as tf
from jaxtyping import Float32

from selftrain_jax.augment.tensors import IMAGE_FILL, MAPS, MASK_FILL, Number, Tensors, image_size

Boxes = Float32[tf.Tensor, "_N 4"]
Amount: TypeAlias = tf.Tensor | Number
CornerMap = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]

BOX_FITS = ("corners", "ellipse")

# An RGB pixel and its mask value are warped as one 32-bit number; this one (exact in float32) is the fill.
_PACKED_FILL = float(np.array([IMAGE_FILL] * 3 + [MASK_FILL], np.uint8).view(np.int32)[0])


def flip_horizontal(tensors: Tensors) -> Tensors:
    """Mirror left and right: x' = W - x."""
    width = tf.cast(tf.shape(tensors["image"])[1], tf.float32)
    flipped: Tensors = {key: tf.reverse(tensors[key], [1]) for key in ("image", *MAPS) if key in tensors}
    if "boxes" in tensors:
        ymin, xmin, ymax, xmax = tf.unstack(tensors["boxes"], axis=1)
        flipped["boxes"] = tf.stack([ymin, width - xmax, ymax, width - xmin], axis=1)
    return {**tensors, **flipped}


def translate_x(tensors: Tensors, shift_px: Amount) -> Tensors:
    """Move the content `shift_px` to the left: output (x, y) shows input (x + shift, y)."""
    image = _warp(tensors, [1.0, 0.0, shift_px, 0.0, 1.0, 0.0])
    return _with_boxes(image, lambda boxes: _translate_boxes(boxes, [0.0, shift_px], tensors["image"]))


def translate_y(tensors: Tensors, shift_px: Amount) -> Tensors:
    """Move the content `shift_px` up: output (x, y) shows input (x, y + shift)."""
    image = _warp(tensors, [1.0, 0.0, 0.0, 0.0, 1.0, shift_px])
    return _with_boxes(image, lambda boxes: _translate_boxes(boxes, [shift_px, 0.0], tensors["image"]))


def shear_x(tensors: Tensors, slope: Amount, *, box_fit: str = "corners") -> Tensors:
    """Slant sideways: output (x, y) shows input (x + slope y, y)."""
    moved = _warp(tensors, [1.0, slope, 0.0, 0.0, 1.0, 0.0])
    if box_fit == "ellipse":
        return _with_boxes(
            moved, lambda boxes: fit_ellipse(boxes, ((1.0, 0.0), (-slope, 1.0)), moved["image"])
        )
    return _with_boxes(
        moved, lambda boxes: _map_corners(boxes, lambda y, x: (y, x - slope * y), moved["image"])
    )


def shear_y(tensors: Tensors, slope: Amount, *, box_fit: str = "corners") -> Tensors:
    """Slant up and down: output (x, y) shows input (x, slope x + y)."""
    moved = _warp(tensors, [1.0, 0.0, 0.0, slope, 1.0, 0.0])
    if box_fit == "ellipse":
        return _with_boxes(
            moved, lambda boxes: fit_ellipse(boxes, ((1.0, -slope), (0.0, 1.0)), moved["image"])
        )
    return _with_boxes(
        moved, lambda boxes: _map_corners(boxes, lambda y, x: (y - slope * x, x), moved["image"])
    )


def rotate(tensors: Tensors, degrees: Amount, *, box_fit: str = "corners") -> Tensors:
    """Rotate around the centre ((W - 1)/2, (H - 1)/2): output offset (x, y) shows input R(degrees) (x, y).

    As in the released code, corners of boxes rotate around (W/2, H/2): as positions between pixels, counted
    from the edge of the image, that is the same point, but truncation moves them by up to a pixel.
    """
    radians = tf.cast(degrees, tf.float32) * (math.pi / 180.0)
    cos, sin = tf.cos(radians), tf.sin(radians)
    height, width = image_size(tensors["image"])
    right, bottom = tf.cast(width - 1, tf.float32), tf.cast(height - 1, tf.float32)
    x0 = (right - (cos * right - sin * bottom)) / 2.0
    y0 = (bottom - (sin * right + cos * bottom)) / 2.0
    moved = _warp(tensors, [cos, -sin, x0, sin, cos, y0])
    if box_fit == "ellipse":
        center_yx = _size_px(moved["image"]) / 2.0
        turn = ((cos, -sin), (sin, cos))
        return _with_boxes(moved, lambda boxes: fit_ellipse(boxes, turn, moved["image"], center_yx))
    return _with_boxes(moved, lambda boxes: _rotate_boxes(boxes, cos, sin, moved["image"]))


def fit_ellipse(
    boxes: Boxes,
    yx_map: tuple[tuple[Amount, Amount], tuple[Amount, Amount]],
    image: tf.Tensor,
    center_yx: tf.Tensor | float = 0.0,
) -> Boxes:
    """Return the bounds of each box's inscribed ellipse under the linear map y' = a y + b x, x' = c y + d x.

    `yx_map` is ((a, b), (c, d)), around `center_yx`. An ellipse with the half axes (h, w) gets the half
    height sqrt((a h)^2 + (b w)^2) and the half width sqrt((c h)^2 + (d w)^2). That is exact where the object
    is an ellipse; the bounds of the turned corners are up to sqrt(2) larger each way, and so teach boxes
    that are larger than their objects. Nothing is truncated; boxes are clipped as all others here.

    Not in the paper.
    Reference: Kalra, Stoppi, Brown, Agarwal, Kadambi: Towards Rotation Invariance in Object Detection, ICCV
    2021 ("oval" labels).
    """
    linear = tf.stack([tf.stack([tf.cast(value, tf.float32) for value in row]) for row in yx_map])
    half = (boxes[:, 2:] - boxes[:, :2]) / 2.0
    middle = tf.linalg.matvec(linear, (boxes[:, :2] + boxes[:, 2:]) / 2.0 - center_yx) + center_yx
    new_half = tf.sqrt(tf.linalg.matvec(linear**2, half**2))
    return _clip_boxes(tf.concat([middle - new_half, middle + new_half], axis=1), image)


def _warp(tensors: Tensors, xy_map: list[Amount]) -> Tensors:
    """Let output (x, y) show input (a0 x + a1 y + a2, a3 x + a4 y + a5), in image and maps."""
    image = tensors["image"]
    if "mask" in tensors:
        four = tf.concat([image, tensors["mask"][..., None]], axis=-1)
    else:
        four = tf.pad(image, [[0, 0], [0, 0], [0, 1]])
    pixels = _warp_bytes(four, xy_map, _PACKED_FILL)
    moved = {**tensors, "image": pixels[..., :3]}
    if "soft_mask" in tensors:
        moved["soft_mask"] = _warp_bytes(tensors["soft_mask"], xy_map, 0.0)
    if "pixel_weight" in tensors:
        four = tf.pad(tensors["pixel_weight"], [[0, 0], [0, 0], [0, 3]])
        moved["pixel_weight"] = _warp_bytes(four, xy_map, 0.0)[..., :1]
    return {**moved, "mask": pixels[..., 3]} if "mask" in tensors else moved


def _warp_bytes(pixels: tf.Tensor, xy_map: list[Amount], fill: float) -> tf.Tensor:
    """Move the four bytes of each pixel as one number, without interpolation."""
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.bitcast(pixels, tf.int32)[None, ..., None],
        transforms=[[*xy_map, 0.0, 0.0]],
        output_shape=tf.shape(pixels)[:2],
        fill_value=fill,
        interpolation="NEAREST",
        fill_mode="CONSTANT",
    )
    return tf.bitcast(warped[0, ..., 0], tf.uint8)


def _with_boxes(tensors: Tensors, move: Callable[[tf.Tensor], tf.Tensor]) -> Tensors:
    """Move the boxes if there are any."""
    return {**tensors, "boxes": move(tensors["boxes"])} if "boxes" in tensors else tensors


def _size_px(image: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.shape(image)[:2], tf.float32)


def _translate_boxes(boxes: Boxes, shift_yx_px: list[Amount], image: tf.Tensor) -> Boxes:
    """Shift by whole pixels; clip each edge to the side that it moves towards, then both to the image."""
    shift = tf.cast(tf.cast(tf.stack(shift_yx_px), tf.int32), tf.float32)
    whole = _truncate(boxes)
    low = tf.maximum(whole[:, :2] - shift, 0.0)
    high = tf.minimum(whole[:, 2:] - shift, _size_px(image))
    return _clip_boxes(tf.concat([low, high], axis=1), image)


def _rotate_boxes(boxes: Boxes, cos: tf.Tensor, sin: tf.Tensor, image: tf.Tensor) -> Boxes:
    """Rotate the corners around the middle, with y pointing up, and return their bounds."""
    half_y, half_x = tf.unstack(_size_px(image) / 2.0)

    def turn(y: tf.Tensor, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        up, right = -_truncate(y - half_y), _truncate(x - half_x)
        new_up, new_right = _truncate(cos * up + sin * right), _truncate(cos * right - sin * up)
        return half_y - new_up, half_x + new_right

    return _clip_boxes(_bounds(*turn(*_corners(boxes))), image)


def _map_corners(boxes: Boxes, corner_map: CornerMap, image: tf.Tensor) -> Boxes:
    """Map the corners, truncated to whole pixels before and after, and return their bounds."""
    y, x = corner_map(*_corners(_truncate(boxes)))
    return _clip_boxes(_bounds(_truncate(y), _truncate(x)), image)


def _corners(boxes: Boxes) -> tuple[tf.Tensor, tf.Tensor]:
    """Return y and x [N, 4] of the four corners."""
    return tf.gather(boxes, [0, 0, 2, 2], axis=1), tf.gather(boxes, [1, 3, 1, 3], axis=1)


def _bounds(y: tf.Tensor, x: tf.Tensor) -> Boxes:
    low = tf.stack([tf.reduce_min(y, 1), tf.reduce_min(x, 1)], axis=1)
    return tf.concat([low, tf.stack([tf.reduce_max(y, 1), tf.reduce_max(x, 1)], axis=1)], axis=1)


def _truncate(values: tf.Tensor) -> tf.Tensor:
    """Drop the fraction, towards zero."""
    return tf.cast(tf.cast(values, tf.int32), tf.float32)


def _clip_boxes(boxes: Boxes, image: tf.Tensor) -> Boxes:
    """Clip to the image; then extend a side of length 0 to the outer 5 % of the image (the phantom box)."""
    size = _size_px(image)
    low, high = tf.clip_by_value(boxes[:, :2], 0.0, size), tf.clip_by_value(boxes[:, 2:], 0.0, size)
    is_flat = high == low
    grown_low, grown_high = tf.minimum(low, 0.95 * size), tf.maximum(high, 0.05 * size)
    return tf.concat([tf.where(is_flat, grown_low, low), tf.where(is_flat, grown_high, high)], axis=1)
