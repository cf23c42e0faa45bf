"""Rotary positions of DINOv3: queries and keys are turned by where their patch is; call `rotary_angles`.

Paper: not in it. Source: Siméoni et al. 2025, DINOv3, section 3.2; Su et al. 2021, RoFormer.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from selftrain_jax.errors import InputError

LONGEST_PERIOD = 100.0  # DINOv3's; half the image's side has length 1


def rotary_angles(height: int, width: int, head_dim: int, num_prefix: int) -> Float32[np.ndarray, "N d"]:
    """Return the angles of all tokens, row by row, behind `num_prefix` tokens without a position.

    An axis runs from -1 to 1 over the image, whatever its size, and a patch is at its centre. Of the
    head_dim / 2 angles the first half is 2π·y / period and the other 2π·x / period, with the periods
    100^(k / quarter) for k from 0 to quarter - 1 = head_dim / 4 - 1. A token without a position has angles 0.

    Raises:
        InputError: `head_dim` is no multiple of 4.

    Differs: the published weights come with periods rounded to bfloat16; here, as in timm, they are exact.
    """
    if head_dim % 4:
        raise InputError(f"A head has {head_dim} channels; rotary positions need a multiple of 4.")
    quarter = head_dim // 4
    periods = LONGEST_PERIOD ** (np.arange(quarter) / quarter)
    rows, columns = (2 * (np.arange(size) + 0.5) / size - 1 for size in (height, width))
    centres = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2, 1)
    angles = (2 * np.pi * centres / periods).reshape(-1, 2 * quarter)
    return np.concatenate([np.zeros((num_prefix, 2 * quarter)), angles]).astype(np.float32)


def rotate(
    x: Float[Array, "B N heads d2"], angles: Float32[np.ndarray, "N d"]
) -> Float[Array, "B N heads d2"]:
    """Turn channels k and k + d, which form a plane, by angle k; in float32, returned in x's dtype."""
    sin, cos = (jnp.asarray(table)[:, None] for table in (np.sin(angles), np.cos(angles)))
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return turned.astype(x.dtype)
