"""Boxes (yxyx pixels): RetinaNet's anchors in numpy; their overlap, coding and clipping in JAX."""

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from selftrain_jax.errors import InputError

MAX_LOG_SCALE = math.log(1000 / 16)  # keeps exp() of an untrained prediction finite
EPSILON = 1e-8


def make_anchors(
    *,
    image_size_px: int,
    min_level: int = 3,
    max_level: int = 7,
    num_scales: int = 3,
    aspect_ratios: Sequence[float] = (1.0, 2.0, 0.5),
    anchor_size: float = 4.0,
) -> Float[np.ndarray, "A 4"]:
    """Return the anchors of a square image, ordered by level, row, column, scale, and aspect ratio.

    At each cell's centre, height = s / √r and width = s·√r with
    s = anchor_size · 2^level · 2^(k / num_scales) and r one of `aspect_ratios` (width / height).

    Raises:
        InputError: the cells of a coarse level do not tile the image.
    """
    _check_image_size(image_size_px, max_level)
    levels = range(min_level, max_level + 1)
    anchors = [
        _level_anchors(image_size_px, 2**level, num_scales, aspect_ratios, anchor_size) for level in levels
    ]
    return np.concatenate(anchors).astype(np.float32)


def _check_image_size(image_size_px: int, max_level: int) -> None:
    """Refuse a size that is not a multiple of the coarsest stride, 2^max_level."""
    stride = 2**max_level
    if image_size_px < stride or image_size_px % stride:
        below = max(image_size_px // stride, 1) * stride
        raise InputError(
            f"image_size_px is {image_size_px}, but must be a multiple of {stride}, the pixels of a cell of "
            f"pyramid level {max_level}. Use {below} or {below + stride}, or a lower max_level."
        )


def _level_anchors(
    image_size_px: int, stride: int, num_scales: int, aspect_ratios: Sequence[float], anchor_size: float
) -> Float[np.ndarray, "cells 4"]:
    scales = anchor_size * stride * 2 ** (np.arange(num_scales) / num_scales)
    roots = np.sqrt(np.asarray(aspect_ratios, np.float64))
    heights = (scales[:, None] / roots).ravel()  # [scale · ratio]
    widths = (scales[:, None] * roots).ravel()
    centres = np.arange(stride / 2, image_size_px, stride)
    y, x = (c[..., None] for c in np.meshgrid(centres, centres, indexing="ij"))  # [row, column, 1]
    edges = (y - heights / 2, x - widths / 2, y + heights / 2, x + widths / 2)  # each [row, column, anchor]
    return np.stack(edges, axis=-1).reshape(-1, 4)


def area(boxes: Float[Array, "*n 4"]) -> Float[Array, "*n"]:
    """Return height · width; 0 for boxes whose maximum is below their minimum."""
    ymin, xmin, ymax, xmax = jnp.moveaxis(boxes, -1, 0)
    return jnp.maximum(ymax - ymin, 0) * jnp.maximum(xmax - xmin, 0)


def iou(a: Float[Array, "*n 4"], b: Float[Array, "*m 4"]) -> Float[Array, "..."]:
    """Return intersection over union, broadcast over the leading axes; 0 where both are empty."""
    corner_min = jnp.maximum(a[..., :2], b[..., :2])
    corner_max = jnp.minimum(a[..., 2:], b[..., 2:])
    intersection = area(jnp.concatenate([corner_min, corner_max], axis=-1))
    union = area(a) + area(b) - intersection
    return jnp.where(union > 0, intersection / jnp.where(union > 0, union, 1), 0)


def encode(boxes: Float[Array, "*n 4"], anchors: Float[Array, "*m 4"]) -> Float[Array, "*n 4"]:
    """Describe boxes relative to anchors: (Δy / h, Δx / w, log h' / h, log w' / w).

    1e-8 is added to sizes, so that an empty box has a finite logarithm.
    """
    centre, size = _centre_and_size(boxes)
    anchor_centre, anchor_size = _centre_and_size(anchors)
    size, anchor_size = size + EPSILON, anchor_size + EPSILON
    return jnp.concatenate([(centre - anchor_centre) / anchor_size, jnp.log(size / anchor_size)], axis=-1)


def decode(outputs: Float[Array, "*n 4"], anchors: Float[Array, "*m 4"]) -> Float[Array, "*n 4"]:
    """Turn the network's outputs into boxes.

    This is not exactly the inverse of `encode`: sizes are max - min + 1, as if the last pixel were included,
    so that a round trip moves an edge by up to about a pixel. The released TensorFlow code evaluates so.
    """
    anchor_size = anchors[..., 2:] - anchors[..., :2] + 1
    anchor_centre = anchors[..., :2] + anchor_size / 2
    centre = outputs[..., :2] * anchor_size + anchor_centre
    size = jnp.exp(jnp.minimum(outputs[..., 2:], MAX_LOG_SCALE)) * anchor_size
    corner_min = centre - size / 2
    return jnp.concatenate([corner_min, corner_min + size - 1], axis=-1)


def clip(boxes: Float[Array, "*n 4"], image_size_px: int) -> Float[Array, "*n 4"]:
    """Limit coordinates to the pixel centres of a square image, [0, size - 1]."""
    return jnp.clip(boxes, 0, image_size_px - 1)


def _centre_and_size(boxes: Float[Array, "*n 4"]) -> tuple[Float[Array, "*n 2"], Float[Array, "*n 2"]]:
    size = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + size / 2, size
