"""Class maps of an image's tiles put together; call `paste_tiles`.

Each pixel is taken from the tile that shows it farthest from its border (`data.tiles.tile_cores`), with the
surroundings that its class depends on. So class, confidence and runners-up of a pixel stay those of one look,
and no map of all classes is held for a large image.

Reference: the overlap-tile strategy of U-Net, Ronneberger, Fischer and Brox, MICCAI 2015, Figure 2.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from selftrain_jax.data.tiles import MAPS, tile_cores
from selftrain_jax.types import Example


def paste_tiles(
    by_tile: Sequence[Example], tiles: Int[np.ndarray, "T 4"], size_px: tuple[int, int]
) -> Example:
    """Return the maps of an image of (height, width) from those of its tiles, yxyx in its pixels."""
    whole: Example = {"is_pseudo": True}
    for key in (key for key in MAPS if key in by_tile[0]):
        first = by_tile[0][key]  # type: ignore[literal-required]
        pasted = np.zeros((*size_px, *first.shape[2:]), first.dtype)
        for labels, tile, (top, left, bottom, right) in zip(by_tile, tiles, tile_cores(tiles), strict=True):
            part = labels[key][top - tile[0] : bottom - tile[0], left - tile[1] : right - tile[1]]  # type: ignore[literal-required]
            pasted[top:bottom, left:right] = part
        whole[key] = pasted  # type: ignore[literal-required]
    return whole


def fitted_size(size_px: tuple[int, int], side_px: int) -> tuple[int, int]:
    """Return (height, width) of an image that is fitted into a square, rounded as `augment.resize` does."""
    size = np.array(size_px, np.float32)
    height, width = np.maximum(np.round(size * (np.float32(side_px) / size).min()), 1).astype(int).tolist()
    return height, width
