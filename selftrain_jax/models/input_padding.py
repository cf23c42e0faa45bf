"""Images of any size for networks that halve them: zeros below and to the right, up to the next multiple.

Call `pad_images` before a network that needs a multiple of its coarsest stride, `padded_size` for the size
that it then sees. Images are normalised, so that a zero is the mean colour, as where the pipeline pads them.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from selftrain_jax.errors import InputError
from selftrain_jax.models.spatial_sharding import shard_rows


def padded_size(image_size_px: int, stride_px: int) -> int:
    """Return the smallest multiple of the stride that holds the image.

    Raises:
        InputError: the image has no pixel.
    """
    if image_size_px < 1:
        raise InputError(f"image_size_px is {image_size_px}; expected at least 1, such as {4 * stride_px}.")
    return -(-image_size_px // stride_px) * stride_px


def pad_images(images: Float[Array, "B H W 3"], stride_px: int) -> Float[Array, "B H2 W2 3"]:
    """Add rows and columns of zeros at the end; images that fit are returned as they are."""
    height, width = images.shape[1:3]
    rows, columns = (padded_size(size, stride_px) - size for size in (height, width))
    if not rows and not columns:
        return images
    # Where devices share an image, the rows are split anew: a network needs them split evenly.
    return shard_rows(jnp.pad(images, ((0, 0), (0, rows), (0, columns), (0, 0))))
