"""Large images through a network by tiles, and what it finds put together again; call `infer_by_tiles`.

Batches are of tiles, whatever images they are of, so that the network has the shapes that it always has.
"""

import itertools
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from functools import partial

import numpy as np
from jaxtyping import Int, UInt8

from selftrain_jax.data.source import Source
from selftrain_jax.data.tile_source import RECENT_IMAGES, Tiles, cut_tile, find_tiles, keep_recent, tiled
from selftrain_jax.data.tiles import Tiling
from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.inference import (
    Chunk,
    Inferred,
    InferredChunk,
    ReadPixels,
    chunks_in_order,
    read_pixels,
)
from selftrain_jax.types import Example

InferTiles = Callable[..., Generator[InferredChunk, None, None]]
"""A task's inference: from chunks, and by name `source`, of tiles, and how to `read` them."""

Merge = Callable[[list[Example], Int[np.ndarray, "T 4"], tuple[int, int]], Example]
"""From what was found in each tile of an image, the tiles, and the image's (height, width) to its labels, all
but `image_id`."""


def infer_by_tiles(
    chunks: Iterable[Chunk],
    *,
    source: Source,
    tiling: Tiling | None,
    batch_size: int,
    infer: InferTiles,
    merge: Merge,
) -> Generator[InferredChunk, None, None]:
    """Yield the images of each shard one by one, with the labels that `merge` makes of their tiles'.

    An image is decoded once, for its tiles follow one another. Batches of tiles end with their shard.
    Without a `tiling` images are inferred whole.
    """
    if tiling is None:
        yield from infer(chunks, source=source)
        return
    for shard, of_shard in itertools.groupby(chunks, key=lambda chunk: chunk[0]):
        images = [index for _, indices in of_shard for index in indices]
        tiles = find_tiles(source, tiling, images)
        inferred = infer(
            chunks_in_order(len(tiles), batch_size),
            source=tiled(source, tiling, tiles),
            read=_read_tiles(source, tiles),
        )
        with closing(inferred):
            found = itertools.chain.from_iterable(of_chunk for _, of_chunk in inferred)
            ends = tiles.counts.cumsum()
            for image, first, end in zip(images, ends - tiles.counts, ends, strict=True):
                parts = list(itertools.islice(found, int(end - first)))
                size_px = tiles.sizes_px[first].tolist()
                image_id = source.image_ids[image]
                yield shard, [_merge_image(image_id, parts, tiles.boxes[first:end], size_px, merge)]


def _read_tiles(source: Source, tiles: Tiles) -> ReadPixels:
    """Read tiles, with the whole image as it is encoded."""
    read = keep_recent(partial(read_pixels, source), RECENT_IMAGES)

    def read_tile(index: int) -> tuple[bytes, UInt8[np.ndarray, "h w 3"]]:
        encoded, image = read(int(tiles.images[index]))
        return encoded, cut_tile(image, tiles, index, source)

    return read_tile


def _merge_image(
    image_id: str,
    parts: list[Inferred | InputError],
    tiles: Int[np.ndarray, "T 4"],
    size_px: Sequence[int],
    merge: Merge,
) -> Inferred | InputError:
    """Merge what was found in an image's tiles; one that cannot be read speaks for all."""
    height, width = size_px
    whole: list[Inferred] = []
    for part in parts:
        if isinstance(part, InputError):
            return part
        whole.append(part)
    labels = merge([part.labels for part in whole], tiles, (height, width))
    return Inferred(whole[0].encoded, (height, width), {**labels, "image_id": image_id})
