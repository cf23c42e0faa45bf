"""A network's class maps of whole images, averaged over scales (Paper: Section 3.1).

Call `infer_masks` for pseudo labels, `predict_masks` for evaluation. As in `pseudo_inference`, images
are read ahead of the device, and a batch's class maps are read only after the next one is dispatched.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from selftrain_jax.data.source import Source, decode_image
from selftrain_jax.errors import InputError
from selftrain_jax.tasks.detection.pseudo.inference import Inferred, InferredChunk
from selftrain_jax.tasks.segmentation.pseudo.network import (
    MaskNetwork,
    canvas_side,
    enlarge_nearest,
    reduced_size,
)
from selftrain_jax.types import Example

BATCHES_AHEAD = 1  # a batch is an input of every scale, 27 MB an image at 512 px and the paper's six


class Predicted(NamedTuple):
    """One image's class map, at its own size and as the image lies in the network's input."""

    image_id: str
    size_px: tuple[int, int]  # height, width of the original
    original: UInt8[np.ndarray, "H W"]
    resized: UInt8[np.ndarray, "h w"]


class _Loaded(NamedTuple):
    image_id: str
    encoded: bytes
    size_px: tuple[int, int]  # height, width of the original
    inputs: list[Float[np.ndarray, "_S _S 3"]]  # of each view
    scaled_px: list[tuple[int, int]]  # of each view: the part that the image covers
    frame_px: tuple[int, int]  # the same of the frame; without one the original's size


_Chunk = tuple[int, list[_Loaded | InputError]]  # shard, images
_Labels = tuple[Array, Array, Array]  # classes, confidence, is finite


def infer_masks(
    chunks: Iterable[tuple[int, Sequence[int]]],
    *,
    source: Source,
    network: MaskNetwork,
    num_threads: int = 4,
) -> Iterator[InferredChunk]:
    """Label the images of each (shard, indices), at most `network.batch_size` indices a chunk.

    Labels are `image_id`, `mask` (every pixel's best class), `confidence` (types.Example), `is_pseudo`.
    An image above `network.max_side_px` is labelled at that size, and its maps are enlarged by nearest.

    Raises:
      InputError: the network's logits are not finite.

    Paper: Section 3.1. Differs: no pixel is ignored yet; the threshold acts on the stored confidence.
    """
    for (shard, images), (labels, _) in _run(chunks, source, network, None, num_threads):
        classes, confidence, is_finite = jax.device_get(labels)
        inferred: list[Inferred | InputError] = []
        for row, loaded in enumerate(images):
            if isinstance(loaded, _Loaded):
                _check_finite(is_finite[row], loaded)
                maps = (_to_original(values[row], loaded, network) for values in (classes, confidence))
                inferred.append(_to_inferred(loaded, *maps))
            else:
                inferred.append(loaded)
        yield shard, inferred


def predict_masks(
    *, source: Source, network: MaskNetwork, frame_size_px: int, num_threads: int = 4
) -> Iterator[Predicted]:
    """Yield every image's class map in the source's order, in two frames from the same logits.

    `resized` is the frame of the official evaluation, the image fitted into a square of `frame_size_px`.

    Raises:
      InputError: an image does not decode, or the network's logits are not finite.
    """
    starts = range(0, len(source), network.batch_size)
    chunks = [(0, range(start, min(start + network.batch_size, len(source)))) for start in starts]
    for (_, images), (labels, framed) in _run(chunks, source, network, frame_size_px, num_threads):
        classes, is_finite, resized = jax.device_get((labels[0], labels[2], framed[0]))
        for row, loaded in enumerate(images):
            if isinstance(loaded, InputError):
                raise loaded
            _check_finite(is_finite[row], loaded)
            original = _to_original(classes[row], loaded, network)
            yield Predicted(loaded.image_id, loaded.size_px, original, _cut(resized[row], loaded.frame_px))


def _run(
    chunks: Iterable[tuple[int, Sequence[int]]],
    source: Source,
    network: MaskNetwork,
    frame_size_px: int | None,
    num_threads: int,
) -> Iterator[tuple[_Chunk, tuple[_Labels, _Labels]]]:
    """Yield each chunk with its labels at the images' own size and in the frame, still on the devices."""
    with ThreadPoolExecutor(num_threads) as pool:
        dispatched: deque[tuple[_Chunk, tuple[_Labels, _Labels]]] = deque()
        for chunk in _load_ahead(chunks, source, network, frame_size_px, pool):
            rows = {row: loaded for row, loaded in enumerate(chunk[1]) if isinstance(loaded, _Loaded)}
            dispatched.append((_without_inputs(chunk), _dispatch(rows, network, frame_size_px)))
            if len(dispatched) > 1:
                yield dispatched.popleft()
        yield from dispatched


def _dispatch(
    rows: dict[int, _Loaded], network: MaskNetwork, frame_size_px: int | None
) -> tuple[_Labels, _Labels]:
    """Ask the network for a batch's logits of every view, and for the class maps in both frames."""
    scaled_px = np.ones((network.batch_size, len(network.views), 2), np.int32)
    target_px, frame_px = (np.ones((network.batch_size, 2), np.int32) for _ in range(2))
    for row, loaded in rows.items():
        scaled_px[row], frame_px[row] = loaded.scaled_px, loaded.frame_px
        target_px[row] = reduced_size(loaded.size_px, network.max_side_px)
    logits = [_logits_of_view(rows, view, network) for view in range(len(network.views))]
    are_mirrored = tuple(mirrored for _, mirrored in network.views)

    def label(size_px: Int[np.ndarray, "B 2"], canvas_px: int) -> _Labels:
        network.shapes_used.canvases_px.add(canvas_px)
        return network.label(logits, scaled_px, size_px, canvas_px, are_mirrored)

    labels = label(target_px, canvas_side(int(target_px.max()), network.max_side_px))
    return labels, label(frame_px, frame_size_px) if frame_size_px is not None else labels


def _logits_of_view(rows: dict[int, _Loaded], view: int, network: MaskNetwork) -> Array:
    """Run the network on [batch_size, S, S, 3]; unused and undecodable places are zero."""
    size_px, _ = network.views[view]
    network.shapes_used.inputs_px.add(size_px)
    images = np.zeros((network.batch_size, size_px, size_px, 3), np.float32)
    for row, loaded in rows.items():
        images[row] = loaded.inputs[view]
    return network.predict(images).logits


def _load_ahead(
    chunks: Iterable[tuple[int, Sequence[int]]],
    source: Source,
    network: MaskNetwork,
    frame_size_px: int | None,
    pool: ThreadPoolExecutor,
) -> Iterator[_Chunk]:
    waiting: deque[tuple[int, list[Future]]] = deque()
    for shard, indices in chunks:
        futures = [pool.submit(_load_one, index, source, network, frame_size_px) for index in indices]
        waiting.append((shard, futures))
        if len(waiting) > BATCHES_AHEAD:
            yield _await(waiting.popleft())
    while waiting:
        yield _await(waiting.popleft())


def _await(chunk: tuple[int, list[Future]]) -> _Chunk:
    return chunk[0], [future.result() for future in chunk[1]]


def _load_one(
    index: int, source: Source, network: MaskNetwork, frame_size_px: int | None
) -> _Loaded | InputError:
    image_id = source.image_ids[index]
    try:
        encoded = source.read_encoded(index)
        image = decode_image(encoded, f"image {image_id} of {source.name}")
    except InputError as error:
        return error
    height, width = image.shape[:2]
    views = [network.load(image[:, ::-1] if mirrored else image, size) for size, mirrored in network.views]
    inputs, scaled_px = (list(values) for values in zip(*views, strict=True))
    frame_px = (height, width)
    if frame_size_px is not None:
        by_size = {size: part for (size, _), part in zip(network.views, scaled_px, strict=True)}
        frame_px = by_size.get(frame_size_px) or network.load(image, frame_size_px)[1]
    return _Loaded(image_id, encoded, (height, width), inputs, scaled_px, frame_px)


def _without_inputs(chunk: _Chunk) -> _Chunk:
    """Forget what the network has been given: it is the largest part of the memory."""
    images = [loaded._replace(inputs=[]) if isinstance(loaded, _Loaded) else loaded for loaded in chunk[1]]
    return chunk[0], images


def _to_inferred(
    loaded: _Loaded, classes: UInt8[np.ndarray, "H W"], confidence: UInt8[np.ndarray, "H W"]
) -> Inferred:
    labels: Example = {
        "image_id": loaded.image_id,
        "mask": classes,
        "confidence": confidence,
        "is_pseudo": True,
    }
    return Inferred(loaded.encoded, loaded.size_px, labels)


def _to_original(
    values: UInt8[np.ndarray, "C C"], loaded: _Loaded, network: MaskNetwork
) -> UInt8[np.ndarray, "H W"]:
    labelled = _cut(values, reduced_size(loaded.size_px, network.max_side_px))
    return labelled if labelled.shape == loaded.size_px else enlarge_nearest(labelled, loaded.size_px)


def _cut(values: UInt8[np.ndarray, "C C"], size_px: tuple[int, int]) -> UInt8[np.ndarray, "h w"]:
    """Take an image's part of its canvas, as a copy that lets go of the batch."""
    return values[: size_px[0], : size_px[1]].copy()


def _check_finite(is_finite: np.bool_, loaded: _Loaded) -> None:
    if not is_finite:
        raise InputError(
            f"image {loaded.image_id}: the network's logits are not finite. Its checkpoint or its number "
            "type is broken; evaluate it, and try config.model.dtype=float32."
        )
