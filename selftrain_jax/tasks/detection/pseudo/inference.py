"""A network's inference over a source of images, boxes back in original pixels (Paper: Section 3.1).

Call `infer_images`; it keeps a few batches of images ahead of the device and reads a batch's
boxes only after the next one is dispatched.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, UInt8

from selftrain_jax.data.source import Source, decode_image
from selftrain_jax.errors import InputError
from selftrain_jax.types import Detections, Example

BATCHES_AHEAD = 2

Load = Callable[[UInt8[np.ndarray, "H W 3"]], tuple[Float[np.ndarray, "S S 3"], Float[np.ndarray, " 2"]]]
"""From an image to the network's input and its scale: network px = original px * scale."""

Predict = Callable[[Float[np.ndarray, "B S S 3"]], Detections]


@dataclass(frozen=True)
class Network:
    """A trained network with its weights, as inference over images uses it."""

    load: Load
    predict_batch: Predict
    batch_size: int
    image_size_px: int
    score_floor: float  # detections below it are dropped


class Inferred(NamedTuple):
    """An image and the boxes found in it, in its own pixels."""

    encoded: bytes
    size_px: tuple[int, int]  # height, width
    labels: Example


InferredChunk = tuple[int, list[Inferred | InputError]]
"""Shard, and its images; an error stands for an image that does not decode."""


class _Loaded(NamedTuple):
    image_id: str
    encoded: bytes
    size_px: tuple[int, int]  # height, width of the original
    image: Float[np.ndarray, "S S 3"]
    scale: Float[np.ndarray, " 2"]


_Chunk = tuple[int, list[_Loaded | InputError]]  # shard, images


def infer_images(
    chunks: Iterable[tuple[int, Sequence[int]]],
    *,
    source: Source,
    network: Network,
    num_threads: int = 4,
) -> Iterator[InferredChunk]:
    """Detect in the images of each (shard, indices), at most `network.batch_size` indices a chunk.

    The network always sees [batch_size, S, S, 3]: unused and undecodable places are zero.

    Raises:
      InputError: the network's scores or boxes are not finite.
    """
    with ThreadPoolExecutor(num_threads) as pool:
        predicted: deque[tuple[_Chunk, Detections]] = deque()
        for chunk in _load_ahead(chunks, source, network.load, pool):
            images = np.zeros((network.batch_size, *2 * (network.image_size_px,), 3), np.float32)
            for row, loaded in enumerate(chunk[1]):
                if isinstance(loaded, _Loaded):
                    images[row] = loaded.image
            predicted.append((chunk, network.predict_batch(images)))
            if len(predicted) > 1:
                yield _to_inferred(*predicted.popleft(), network.score_floor)
        if predicted:
            yield _to_inferred(*predicted.popleft(), network.score_floor)


def to_original_pixels(
    boxes: Float[np.ndarray, "N 4"], scale: Float[np.ndarray, " 2"], size_px: tuple[int, int]
) -> Float[np.ndarray, "N 4"]:
    """Map boxes from the network's input to the original image: px / scale, clipped to the image."""
    original = boxes / np.tile(scale, 2).astype(np.float32)
    return np.clip(original, 0, np.tile(np.asarray(size_px, np.float32), 2))


def _load_ahead(
    chunks: Iterable[tuple[int, Sequence[int]]], source: Source, load: Load, pool: ThreadPoolExecutor
) -> Iterator[_Chunk]:
    waiting: deque[tuple[int, list[Future]]] = deque()
    for shard, indices in chunks:
        waiting.append((shard, [pool.submit(_load_one, index, source, load) for index in indices]))
        if len(waiting) > BATCHES_AHEAD:
            yield _await(waiting.popleft())
    while waiting:
        yield _await(waiting.popleft())


def _await(chunk: tuple[int, list[Future]]) -> _Chunk:
    return chunk[0], [future.result() for future in chunk[1]]


def _load_one(index: int, source: Source, load: Load) -> _Loaded | InputError:
    image_id = source.image_ids[index]
    try:
        encoded = source.read_encoded(index)
        image = decode_image(encoded, f"image {image_id} of {source.name}")
    except InputError as error:
        return error
    height, width = image.shape[:2]
    return _Loaded(image_id, encoded, (height, width), *load(image))


def _to_inferred(chunk: _Chunk, detections: Detections, score_floor: float) -> InferredChunk:
    shard, images = chunk
    found = Detections(*jax.device_get(tuple(detections)))
    return shard, [
        Inferred(loaded.encoded, loaded.size_px, _to_labels(loaded, found, row, score_floor))
        if isinstance(loaded, _Loaded)
        else loaded
        for row, loaded in enumerate(images)
    ]


def _to_labels(loaded: _Loaded, found: Detections, row: int, score_floor: float) -> Example:
    """Take an image's detections of at least the floor that keep an area inside the image."""
    valid = np.asarray(found.valid[row])
    boxes, scores = (np.asarray(values[row], np.float32)[valid] for values in (found.boxes, found.scores))
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        raise InputError(
            f"image {loaded.image_id}: the teacher's boxes or scores are not finite. Its checkpoint or its "
            "number type is broken; evaluate the teacher, and try config.model.dtype=float32."
        )
    boxes = to_original_pixels(boxes, loaded.scale, loaded.size_px)
    kept = (scores >= score_floor) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return {
        "image_id": loaded.image_id,
        "boxes": boxes[kept],
        "classes": np.asarray(found.classes[row])[valid][kept],
        "scores": scores[kept],
        "is_pseudo": True,
    }
