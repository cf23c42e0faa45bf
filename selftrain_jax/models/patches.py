"""The patch tokens of an image for a vision transformer, and learned positions; call `PatchEmbedding`."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from selftrain_jax.errors import InputError
from selftrain_jax.models.layers import LayerStyle

CELL_PX = 16
"""Pixels of the image for each token, along each axis: level 4 of a detector's pyramid."""
TOKEN_INIT = nn.initializers.truncated_normal(0.02)


class PatchEmbedding(nn.Module):
    """A linear map of each cell of 16×16 pixels to a token, with the `kernel` of patches of `patch_px`.

    A kernel of 14×14 pixels is carried to 16×16 by `cell_to_patch`, which computes what the published network
    computes from the image at 14/16 of its size. So a token is a cell of stride 16 and the pyramid has the
    strides of the anchors, with as many tokens as a network of patch 16 and positions in the same grid.
    Differs: DINOv2's patches at the image's own size would be a map of stride 14, which fits no anchor, of
    31 % more tokens.
    """

    num_channels: int
    patch_px: int
    style: LayerStyle

    @nn.compact
    def __call__(self, images: Float[Array, "B H W 3"]) -> Float[Array, "B h w C"]:
        """Return the tokens in float32.

        Raises:
            InputError: the image is no multiple of 16 pixels.
        """
        batch, height, width, colors = images.shape
        if height % CELL_PX or width % CELL_PX:
            raise InputError(f"The image has {height} by {width} pixels; a ViT needs multiples of {CELL_PX}.")
        kernel = self.param("kernel", TOKEN_INIT, (self.patch_px, self.patch_px, colors, self.num_channels))
        bias = self.param("bias", nn.initializers.zeros_init(), (self.num_channels,))
        if self.patch_px != CELL_PX:
            resize = cell_to_patch(self.patch_px)
            kernel = jnp.einsum("pi,qj,pqcd->ijcd", resize, resize, kernel, precision="highest")
        cells = images.reshape(batch, height // CELL_PX, CELL_PX, width // CELL_PX, CELL_PX, colors)
        cells, kernel = cells.astype(self.style.dtype), kernel.astype(self.style.dtype)
        tokens = jnp.einsum("bhiwjc,ijcd->bhwd", cells, kernel, preferred_element_type=jnp.float32)
        return tokens + bias


def cell_to_patch(patch_px: int) -> Float32[np.ndarray, "p cell"]:
    """Return the matrix that resizes one axis of a cell to a patch: linear between the centres of pixels.

    Pixel i of the patch is at (i + 1/2)·16 / p - 1/2 of the cell, between two pixels of it. That is what
    resizing the whole image bilinearly does to the cell: for 14 of 16 no sample reaches beyond its own cell.

    Raises:
        InputError: the patch is larger than the cell or smaller than half of it.
    """
    if not CELL_PX // 2 <= patch_px <= CELL_PX:
        raise InputError(f"patch_px={patch_px} is not between {CELL_PX // 2} and {CELL_PX}; use 14 or 16.")
    positions = (np.arange(patch_px) + 0.5) * CELL_PX / patch_px - 0.5
    distances = np.abs(positions[:, None] - np.arange(CELL_PX))
    return np.maximum(1 - distances, 0).astype(np.float32)


def resize_positions(
    positions: Float[Array, "n n C"], height: int, width: int
) -> Float[Array, "{height} {width} C"]:
    """Interpolate learned positions to a grid, cubic and with antialiasing as in timm; (n, n) is kept."""
    if positions.shape[:2] == (height, width):
        return positions
    with jax.default_matmul_precision("highest"):
        return jax.image.resize(positions, (height, width, positions.shape[-1]), "cubic", antialias=True)
