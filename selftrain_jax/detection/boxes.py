"""Boxes (yxyx pixels) in JAX: overlap, RetinaNet's box coding, clipping."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

MAX_LOG_SCALE = math.log(1000 / 16)  # keeps exp() of an untrained prediction finite
EPSILON = 1e-8


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
