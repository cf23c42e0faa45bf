"""What tiles make of a split's boxes, for the doctor; call `judge_tile_boxes`."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict

from selftrain_jax.data.source import Source
from selftrain_jax.data.tile_source import Tiles, find_tiles, read_size
from selftrain_jax.data.tiles import ROUNDING, Tiling
from selftrain_jax.errors import InputError
from selftrain_jax.geometry import box_areas
from selftrain_jax.html.blocks import Finding
from selftrain_jax.tasks.tiles import KEY, judge_tiles, read_tiling

SMALL_PX = 8  # of the network's input: the stride of the finest level, one cell
MANY_TIMES = 2  # images so many times as large as the network's input are large


def judge_tile_boxes(config: ConfigDict, name: str, source: Source) -> Iterator[Finding]:
    """Say what tiles do for a labelled split's boxes or, without tiles, that they are wanted.

    Raises:
        InputError: config.image's values for tiles are out of their range.
    """
    tiling, size_px = read_tiling(config), config.image.size_px
    boxes = [_read_boxes(source, index) for index in range(len(source))]
    if tiling is None:
        yield from _judge_without(name, source, boxes, size_px)
        return
    tiles = find_tiles(source, tiling)
    yield from judge_tiles(name, tiles, tiling)
    if len(tiles) == len(tiles.counts) or not sum(map(len, boxes)):
        return
    yield _compare_sizes(name, tiles, boxes, tiling, size_px)
    lost = _count_unseen(tiles, boxes, tiling.min_visible)
    if lost:
        yield Finding(
            "warning",
            f"{name}: of {lost:,} boxes no tile shows {tiling.min_visible:.0%} "
            "(config.image.tile_min_visible), so that they are objects in none",
            "Raise --config.image.tile_overlap_frac, so that tiles have as much in common as the largest "
            f"objects are wide, or --{KEY}.",
        )


def _read_boxes(source: Source, index: int) -> Float[np.ndarray, "N 4"]:
    """Return an image's boxes that are no crowd; none where labels cannot be read, as others say."""
    try:
        labels = source.read_labels(index)
    except InputError:
        return np.zeros((0, 4), np.float32)
    return labels["boxes"][~labels.get("is_crowd", np.zeros(len(labels["boxes"]), bool))]


def _judge_without(
    name: str, source: Source, boxes: list[Float[np.ndarray, "_ 4"]], size_px: int
) -> Iterator[Finding]:
    sizes = np.array([read_size(source, index) for index in range(len(source))])
    longest = sizes.max(initial=1, axis=1)
    sides = _scaled_sides(boxes, size_px / longest)
    median = float(np.median(sides)) if len(sides) else np.inf
    if median < SMALL_PX and np.median(longest) >= MANY_TIMES * size_px:
        yield Finding(
            "warning",
            f"{name}: half of the boxes are under {median:.1f} px in the network's input, as images of "
            f"{np.median(longest):.0f} px are fitted into config.image.size_px={size_px}",
            f"Cut the images into tiles: --{KEY}={size_px} shows them at their own size "
            "(docs/large_images.md).",
        )


def _compare_sizes(
    name: str, tiles: Tiles, boxes: list[Float[np.ndarray, "_ 4"]], tiling: Tiling, size_px: int
) -> Finding:
    """Name the smallest and the median object, as the network sees them with tiles and without."""
    longest = np.maximum(tiles.sizes_px[tiles.counts.cumsum() - 1].max(axis=1), 1)
    of_image = _scaled_sides(boxes, size_px / longest)
    of_tile = _scaled_sides(boxes, size_px / np.minimum(longest, tiling.tile_px))
    (least, median), (least_before, median_before) = (np.quantile(px, (0, 0.5)) for px in (of_tile, of_image))
    return Finding(
        "ok",
        f"{name}: the smallest object is {least:.1f} px in the network's input and half are under "
        f"{median:.1f} px; without tiles {least_before:.1f} and {median_before:.1f} px",
        "",
    )


def _scaled_sides(
    boxes: list[Float[np.ndarray, "_ 4"]], scales: Float[np.ndarray, " I"]
) -> Float[np.ndarray, " M"]:
    """Return the square root of each box's area, times its image's scale."""
    sides = (np.sqrt(box_areas(own)) * scale for own, scale in zip(boxes, scales, strict=True))
    return np.concatenate([np.zeros(0), *sides])


def _count_unseen(tiles: Tiles, boxes: list[Float[np.ndarray, "_ 4"]], min_visible: float) -> int:
    """Count the boxes that no tile shows enough of."""
    count, first = 0, 0
    for own, num in zip(boxes, tiles.counts, strict=True):
        grid = tiles.boxes[first : first + num]
        first += num
        low = np.maximum(own[:, None, :2], grid[None, :, :2])
        high = np.minimum(own[:, None, 2:], grid[None, :, 2:])
        shown = np.prod(np.maximum(high - low, 0), axis=-1) / box_areas(own)[:, None]
        count += int((shown.max(axis=1) < min_visible - ROUNDING).sum())
    return count
