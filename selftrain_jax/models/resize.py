"""Resizing of features inside a network; call `resize_nearest` or `upsample_bilinear`."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def resize_nearest(x: Float[Array, "B h w C"], height: int, width: int) -> Float[Array, "B h2 w2 C"]:
    """Take input cell floor(i · in / out) for output cell i, along both axes; whole factors repeat cells."""
    for axis, size in ((1, height), (2, width)):
        found = x.shape[axis]
        if size == found:
            continue
        if size % found == 0:
            x = jnp.repeat(x, size // found, axis=axis)
        else:
            x = jnp.take(x, jnp.arange(size) * found // size, axis=axis)
    return x


def upsample_bilinear(x: Float[Array, "B h w C"], factor: int) -> Float[Array, "B h2 w2 C"]:
    """Interpolate at i / factor for output cell i, along both axes; the last cells repeat the edge.

    So the input is found again at every factor-th cell, and 2 and 2 in turn are the factor 4.
    Differs: from `jax.image.resize`, which puts the samples at cells' centres, half a cell away.
    """
    for axis in (1, 2):
        size = x.shape[axis]
        edge, rest = (lax.slice_in_dim(x, start, size, axis=axis) for start in (size - 1, 1))
        step = jnp.concatenate([rest, edge], axis) - x
        shares = jnp.expand_dims(jnp.arange(factor, dtype=x.dtype) / factor, range(1, 4 - axis))
        between = jnp.expand_dims(x, axis + 1) + jnp.expand_dims(step, axis + 1) * shares
        x = between.reshape(*x.shape[:axis], size * factor, *x.shape[axis + 1 :])
    return x
