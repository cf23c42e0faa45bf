"""How config.image cuts large images into tiles, and what the doctor says of it; call `cut_tiles`."""

import math
from collections.abc import Iterator

from ml_collections import ConfigDict

from selftrain_jax.data.source import Source
from selftrain_jax.data.tile_source import Tiles, find_tiles, tiled
from selftrain_jax.data.tiles import Tiling, check_tiling
from selftrain_jax.html.blocks import Finding

KEY = "config.image.tile_px"


def read_tiling(config: ConfigDict) -> Tiling | None:
    """Read how config.image cuts images into tiles; None where it does not.

    Raises:
        InputError: a value is out of its range.
    """
    image = config.image
    check_tiling(image.tile_px, image.tile_overlap_frac, image.tile_min_visible)
    if not image.tile_px:
        return None
    overlap_px = math.ceil(round(image.tile_px * image.tile_overlap_frac, 6))
    return Tiling(image.tile_px, min(overlap_px, image.tile_px - 1), image.tile_min_visible)


def cut_tiles(config: ConfigDict, source: Source) -> Source:
    """Return the tiles that config.image cuts a source's images into; without tiles the source itself."""
    tiling = read_tiling(config)
    return source if tiling is None else tiled(source, tiling)


def count_tiles(config: ConfigDict, source: Source) -> int:
    """Count what the network sees of a source: its tiles, or without tiles its images."""
    tiling = read_tiling(config)
    return len(source) if tiling is None else len(find_tiles(source, tiling))


def judge_tiles(name: str, tiles: Tiles, tiling: Tiling) -> Iterator[Finding]:
    """Say how many tiles a split's images are, and where tiles change nothing."""
    num_images, side_px = len(tiles.counts), tiling.tile_px
    if len(tiles) == num_images:
        yield Finding(
            "warning",
            f"{name}: no image is larger than {KEY}={side_px}, so that each is one tile",
            f"Nothing, if that is meant; smaller tiles show more detail, --{KEY}=0 is the same without.",
        )
        return
    yield Finding(
        "ok",
        f"{name}: {num_images:,} images are {len(tiles):,} tiles of {side_px} px, at most "
        f"{tiles.counts.max()} an image; a step's batch is of tiles",
        "",
    )
