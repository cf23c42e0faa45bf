"""The tiles of a large image, and its labels as a tile shows them; call `tile_grid` and `cut_labels`.

Tiles are squares of pixels of the image, which are then fitted into the network's input as images are.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from selftrain_jax.errors import InputError
from selftrain_jax.types import Example

MIN_TILE_PX = 32  # a backbone halves an image five times
MAPS = ("mask", "confidence", "runners_up", "soft_mask", "pixel_weight")  # labels with a value for each pixel
OF_BOXES = ("classes", "scores", "place_std", "is_crowd")
OF_IMAGES = ("coco_id", "file_name")  # what names the image, not a tile of it
ROUNDING = 1e-6  # of float32 boxes, so that a whole box is wholly visible


class Tiling(NamedTuple):
    """How images are cut: squares of `tile_px`, of which neighbours share `overlap_px` or more."""

    tile_px: int
    overlap_px: int
    # A box of which a tile shows a smaller share is no object there: neither object nor background.
    min_visible: float = 0.5


def check_tiling(tile_px: int, overlap_frac: float, min_visible: float) -> None:
    """Check config.image's tile_px, tile_overlap_frac and tile_min_visible.

    Raises:
        InputError: a value is out of its range.
    """
    if tile_px and tile_px < MIN_TILE_PX:
        raise InputError(
            f"config.image.tile_px={tile_px} is the side of a tile in pixels of the image; expected at least "
            f"{MIN_TILE_PX}, as the backbone halves it five times, such as 640; 0 is off"
        )
    if not 0 <= overlap_frac < 1:
        raise InputError(
            f"config.image.tile_overlap_frac={overlap_frac:g} is the share of its side that a tile has in "
            "common with the next one; expected 0 or more and below 1, such as 0.25"
        )
    if not 0 <= min_visible <= 1:
        raise InputError(
            f"config.image.tile_min_visible={min_visible:g} is the share of a box that a tile must show for "
            "the box to be an object there; expected 0 (any part is one) to 1 (whole boxes alone)"
        )


def tile_grid(size_px: tuple[int, int], tiling: Tiling) -> Int[np.ndarray, "T 4"]:
    """Return the tiles of an image of (height, width), yxyx in its pixels, row by row.

    Along an axis of length L there is one tile if L <= t, else ceil((L - o) / (t - o)) of side t, spread
    evenly from border to border: they overlap by o or more, and none reaches beyond the image.
    """
    rows, columns = (_spans(length, tiling) for length in size_px)
    return np.array([(top, left, bottom, right) for top, bottom in rows for left, right in columns], np.int64)


def tile_cores(tiles: Int[np.ndarray, "T 4"]) -> Int[np.ndarray, "T 4"]:
    """Return the part of each tile that no other tile of the grid shows farther from its border.

    Overlaps are halved, so that the cores divide the image: each pixel is in one.
    """
    cores = tiles.copy()
    for low, high in ((0, 2), (1, 3)):
        starts, ends = np.unique(tiles[:, low]), np.unique(tiles[:, high])
        middles = (starts[1:] + ends[:-1]) // 2
        position = np.searchsorted(starts, tiles[:, low])
        cores[:, low] = np.concatenate([starts[:1], middles])[position]
        cores[:, high] = np.concatenate([middles, ends[-1:]])[position]
    return cores


def tile_id(image_id: str, tile: Int[np.ndarray, "4"]) -> str:
    """Name a tile by its image and the pixel that it begins with: IMAGE#top,left."""
    return f"{image_id}#{tile[0]},{tile[1]}"


def cut_labels(
    labels: Example, tile: Int[np.ndarray, "4"], size_px: tuple[int, int], min_visible: float
) -> Example:
    """Return an image's labels as a tile shows them; `size_px` is (height, width) of the image.

    Boxes are clipped to the tile, and `areas` shrink with them. Of a box that the tile shows less of than
    `min_visible`, what is there is `is_ignore`: neither object nor background. `is_crowd` would not do, as
    training takes crowds for background. Crowds stay crowds.

    DOTA's devkit (ImgSplit, thresh=0.7) marks such parts as difficult, to be ignored. SAHI (slice_coco,
    min_area_ratio=0.1) and Albumentations (min_visibility=0) drop them, which teaches them as background.

    Raises:
        InputError: a mask has another size than its image.
    """
    top, left, bottom, right = tile.tolist()
    cut: Example = {key: value for key, value in labels.items() if key not in OF_IMAGES}  # type: ignore[assignment]
    cut["image_id"] = tile_id(labels["image_id"], tile)
    for key in MAPS:
        if key in labels:
            pixels = labels[key]  # type: ignore[literal-required]
            _check_size(labels["image_id"], key, pixels.shape[:2], size_px)
            cut[key] = pixels[top:bottom, left:right]  # type: ignore[literal-required]
    return cut | _cut_boxes(labels, tile, min_visible) if "boxes" in labels else cut


def _cut_boxes(labels: Example, tile: Int[np.ndarray, "4"], min_visible: float) -> Example:
    boxes = labels["boxes"]
    corner, size = np.tile(tile[:2], 2), np.tile(tile[2:] - tile[:2], 2)
    inside = np.clip(boxes - corner.astype(np.float32), 0, size.astype(np.float32))
    sides, visible_sides = boxes[:, 2:] - boxes[:, :2], inside[:, 2:] - inside[:, :2]
    kept = (visible_sides > 0).all(axis=1)
    visible = np.prod(visible_sides[kept].astype(np.float64) / sides[kept], axis=1)
    is_crowd = labels.get("is_crowd", np.zeros(len(boxes), bool))[kept]
    is_ignore = labels.get("is_ignore", np.zeros(len(boxes), bool))[kept]
    cut: Example = {key: labels[key][kept] for key in OF_BOXES if key in labels}  # type: ignore[assignment,literal-required]
    if "areas" in labels:
        cut["areas"] = (labels["areas"][kept] * visible).astype(np.float32)
    cut["boxes"] = inside[kept]
    cut["is_ignore"] = is_ignore | ((visible < min_visible - ROUNDING) & ~is_crowd)
    return cut


def _spans(length: int, tiling: Tiling) -> list[tuple[int, int]]:
    """Return where the tiles along an axis begin and end."""
    side, overlap = tiling.tile_px, tiling.overlap_px
    if length <= side:
        return [(0, length)]
    count = math.ceil((length - overlap) / (side - overlap))
    starts = [index * (length - side) // (count - 1) for index in range(count)]
    return [(start, start + side) for start in starts]


def _check_size(image_id: str, key: str, found: tuple[int, ...], size_px: tuple[int, int]) -> None:
    if tuple(found) != tuple(size_px):
        sizes = f"{found[1]} x {found[0]} px, the image {size_px[1]} x {size_px[0]} px (width x height)"
        raise InputError(
            f"the {key} of image {image_id} is {sizes}; expected one size. Fix the mask or leave the image "
            "out."
        )
