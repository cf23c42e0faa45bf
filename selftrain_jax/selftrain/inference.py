"""A network over many images: images are read ahead in threads, results are read one batch late.

Call `run_ahead` with what a task does to load an image and to dispatch a batch; `chunks_in_order` cuts a
source into batches. What comes out for pseudo labels is an `InferredChunk`, whatever the task.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from selftrain_jax.data.source import Source, decode_image
from selftrain_jax.errors import InputError
from selftrain_jax.threads import thread_pool
from selftrain_jax.types import Example, FittedImages

Chunk = tuple[int, Sequence[int]]
"""A shard's number, and the indices in the source of some of its images: at most a batch."""


class Inferred(NamedTuple):
    """An image and its labels, in its own pixels."""

    encoded: bytes
    size_px: tuple[int, int]  # height, width
    labels: Example


InferredChunk = tuple[int, list[Inferred | InputError]]
"""Shard, and its images; an error stands for an image that does not decode."""


ReadPixels = Callable[[int], tuple[bytes, UInt8[np.ndarray, "H W 3"]]]
"""From an index in the source to the image as it is encoded, and its pixels; a tile's are a part of them."""


Fitted = tuple[UInt8[np.ndarray, "S S 3"], Int[np.ndarray, " 2"]]
"""An image fitted into the network's input, and what it covers of it (height, width)."""


class Loaded(NamedTuple):
    """A decoded image on its way through the network."""

    image_id: str
    encoded: bytes
    size_px: tuple[int, int]  # height, width
    inputs: Any  # what `dispatch` needs; dropped after it, as it is most of the memory
    geometry: Any  # what maps the network's output back to the image


def chunks_in_order(num_images: int, batch_size: int) -> list[Chunk]:
    """Cut a source into batches, all of one shard."""
    starts = range(0, num_images, batch_size)
    return [(0, range(start, min(start + batch_size, num_images))) for start in starts]


def run_ahead(
    chunks: Iterable[Chunk],
    *,
    source: Source,
    load: Callable[[UInt8[np.ndarray, "H W 3"]], tuple[Any, Any]],
    dispatch: Callable[[Mapping[int, Loaded]], Any],
    batches_ahead: int,
    num_threads: int,
    read: ReadPixels | None = None,
) -> Generator[tuple[int, list[Loaded | InputError], Any], None, None]:
    """Yield each chunk's shard, its images and what `dispatch` returned for it.

    `load` turns an image into `Loaded`'s `inputs` and `geometry`, in the threads. `dispatch` starts the
    network on the images that decode, by row of the batch. `read` is for a source of parts of images; else
    images are decoded (`read_pixels`). A chunk is yielded after the next one is
    dispatched, so that the device computes while the results are read. Close it to end the threads early.
    """
    with thread_pool(num_threads) as pool:
        dispatched: deque[tuple[int, list[Loaded | InputError], Any]] = deque()
        load_one = partial(_load_one, source=source, read=read or partial(read_pixels, source), load=load)
        for shard, futures in _load_ahead(chunks, load_one, pool, batches_ahead):
            images = [future.result() for future in futures]
            rows = {row: image for row, image in enumerate(images) if isinstance(image, Loaded)}
            results = dispatch(rows)
            kept = [image._replace(inputs=None) if isinstance(image, Loaded) else image for image in images]
            dispatched.append((shard, kept, results))
            if len(dispatched) > 1:
                yield dispatched.popleft()
        yield from dispatched


def stack_fitted(rows: Mapping[int, Fitted], batch_size: int, side_px: int) -> FittedImages:
    """Put fitted images into their rows of a batch; rows without one are of one black pixel."""
    images: Any = np.zeros((batch_size, side_px, side_px, 3), np.uint8)
    covered_px: Any = np.ones((batch_size, 2), np.int32)
    for row, fitted in rows.items():
        images[row], covered_px[row] = fitted
    return FittedImages(images, covered_px)


def label_chunk(
    shard: int, images: list[Loaded | InputError], to_labels: Callable[[int, Loaded], Example]
) -> InferredChunk:
    """Label the images that decode; `to_labels` is given an image and its row of the batch."""
    return shard, [
        Inferred(image.encoded, image.size_px, to_labels(row, image)) if isinstance(image, Loaded) else image
        for row, image in enumerate(images)
    ]


def read_pixels(source: Source, index: int) -> tuple[bytes, UInt8[np.ndarray, "H W 3"]]:
    """Read an image as it is encoded, and decode that. Raises: InputError."""
    encoded = source.read_encoded(index)
    return encoded, decode_image(encoded, f"image {source.image_ids[index]} of {source.name}")


def _load_ahead(
    chunks: Iterable[Chunk],
    load_one: Callable[[int], Loaded | InputError],
    pool: ThreadPoolExecutor,
    batches_ahead: int,
) -> Iterator[tuple[int, list[Future]]]:
    waiting: deque[tuple[int, list[Future]]] = deque()
    for shard, indices in chunks:
        waiting.append((shard, [pool.submit(load_one, index) for index in indices]))
        if len(waiting) > batches_ahead:
            yield waiting.popleft()
    while waiting:
        yield waiting.popleft()


def _load_one(index: int, source: Source, read: ReadPixels, load: Callable) -> Loaded | InputError:
    try:
        encoded, image = read(index)
    except InputError as error:
        return error
    height, width = image.shape[:2]
    return Loaded(source.image_ids[index], encoded, (height, width), *load(image))
