"""The boxes that RetinaNet classifies and adjusts; call `make_anchors` once per run."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from selftrain_jax.errors import InputError


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
    check_image_size(image_size_px, max_level)
    levels = range(min_level, max_level + 1)
    anchors = [
        _level_anchors(image_size_px, 2**level, num_scales, aspect_ratios, anchor_size) for level in levels
    ]
    return np.concatenate(anchors).astype(np.float32)


def check_image_size(image_size_px: int, max_level: int) -> None:
    """Refuse a size that is not a multiple of the coarsest stride, 2^max_level.

    Raises:
        InputError: naming the nearest sizes that fit.
    """
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
