"""The tiles of a source's images as a source; call `tiled`.

Tiles are cut while they are read: nothing is written. `find_tiles` says which tiles there are.
"""

import dataclasses
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Lock
from typing import TypeVar

import numpy as np
from jaxtyping import Int, UInt8

from selftrain_jax.data.source import Source, encode_png
from selftrain_jax.data.tiles import Tiling, cut_labels, tile_grid, tile_id
from selftrain_jax.errors import InputError
from selftrain_jax.threads import thread_pool
from selftrain_jax.types import Example

RECENT_IMAGES = 4  # decoded images that are kept, so that neighbouring tiles are cut from one reading

Value = TypeVar("Value")


@dataclass(frozen=True)
class Tiles:
    """The tiles of some images of a source, in the order of the images."""

    counts: Int[np.ndarray, " I"]  # tiles of each of these images
    images: Int[np.ndarray, " N"]  # index in the source of each tile's image
    boxes: Int[np.ndarray, "N 4"]  # yxyx in the image's pixels
    sizes_px: Int[np.ndarray, "N 2"]  # height and width of the image

    def __len__(self) -> int:
        return len(self.images)


def find_tiles(source: Source, tiling: Tiling, images: Sequence[int] | None = None) -> Tiles:
    """Find the tiles of all images, or of some by their indices, by the headers of their files.

    An image whose size cannot be read has one tile, which raises the error when it is read.
    """
    chosen = range(len(source)) if images is None else images
    with thread_pool(min(8, os.cpu_count() or 1)) as pool:
        sizes = list(pool.map(lambda index: read_size(source, index), chosen))
    grids = [tile_grid(size, tiling) for size in sizes]
    counts = np.array([len(grid) for grid in grids], np.int64)
    return Tiles(
        counts=counts,
        images=np.repeat(np.array(chosen, np.int64), counts),
        boxes=np.concatenate([np.zeros((0, 4), np.int64), *grids]),
        sizes_px=np.repeat(np.array(sizes, np.int64).reshape(-1, 2), counts, axis=0),
    )


def read_size(source: Source, index: int) -> tuple[int, int]:
    """Read an image's (height, width), without decoding it; (0, 0) where that cannot be read."""
    try:
        return source.size_px(index)
    except InputError:
        return 0, 0


def tiled(source: Source, tiling: Tiling, tiles: Tiles | None = None) -> Source:
    """Return the source of all tiles of a source's images, or of `tiles`, that `find_tiles` found.

    A tile's id is its image's and the pixel that it begins with, `IMAGE#top,left`; its labels are those of
    `cut_labels`. The tile of an image that cannot be read raises what the image does.
    """
    found = find_tiles(source, tiling) if tiles is None else tiles
    read_pixels = keep_recent(source.read_image, RECENT_IMAGES)
    read_whole_labels = keep_recent(source.read_labels, RECENT_IMAGES)
    image_ids = tuple(
        tile_id(source.image_ids[image], box) for image, box in zip(found.images, found.boxes, strict=True)
    )

    def read_labels(index: int) -> Example:
        labels, size = read_whole_labels(int(found.images[index])), found.sizes_px[index].tolist()
        return cut_labels(labels, found.boxes[index], (size[0], size[1]), tiling.min_visible)

    def read_image(index: int) -> UInt8[np.ndarray, "H W 3"]:
        return cut_tile(read_pixels(int(found.images[index])), found, index, source)

    return dataclasses.replace(
        source,
        name=f"{source.name}, tiles of {tiling.tile_px} px",
        image_ids=image_ids,
        read_labels=read_labels,
        read_encoded=lambda index: encode_png(read_image(index)),
        read_image=read_image,
        read_size=lambda index: tuple((found.boxes[index, 2:] - found.boxes[index, :2]).tolist()),
        check_file=None,
        path=None,
        file_names=(),
    )


def cut_tile(
    image: UInt8[np.ndarray, "H W 3"], tiles: Tiles, index: int, source: Source
) -> UInt8[np.ndarray, "h w 3"]:
    """Cut a tile out of its decoded image, as a view of it.

    Raises:
        InputError: the image is of another size than its header said.
    """
    top, left, bottom, right = tiles.boxes[index].tolist()
    height, width = tiles.sizes_px[index].tolist()
    if image.shape[:2] != (height, width):
        raise InputError(
            f"image {source.image_ids[tiles.images[index]]} of {source.name} is {image.shape[1]} x "
            f"{image.shape[0]} px, its header said {width} x {height} (width x height). The file has changed "
            "or is damaged: start again, or leave it out."
        )
    return image[top:bottom, left:right]


def keep_recent(read: Callable[[int], Value], count: int) -> Callable[[int], Value]:
    """Keep the last `count` values that were read; threads that want the same one wait for one reading.

    What `read` raises is raised to all who wait, and is not kept.
    """
    kept: OrderedDict[int, Future[Value]] = OrderedDict()
    lock = Lock()

    def read_once(index: int) -> Value:
        with lock:
            future = kept.get(index)
            is_new = future is None
            if future is None:
                future = kept[index] = Future()
                while len(kept) > count:
                    kept.popitem(last=False)
            kept.move_to_end(index)
        if is_new:
            try:
                future.set_result(read(index))
            except BaseException as error:
                with lock:
                    if kept.get(index) is future:
                        del kept[index]
                future.set_exception(error)
        return future.result()

    return read_once
