"""The teacher as it labels with masks, averaged over scales; call `mask_labeller`.

`infer_masks` runs the network for pseudo labels, `predict_masks` for evaluation.
"""

from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Int, UInt8

from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.inference import (
    Chunk,
    Fitted,
    InferredChunk,
    Loaded,
    ReadPixels,
    chunks_in_order,
    label_chunk,
    run_ahead,
    stack_fitted,
)
from selftrain_jax.selftrain.labeller import Labeller
from selftrain_jax.selftrain.tile_inference import infer_by_tiles
from selftrain_jax.tasks.segmentation.pseudo.counts import count_masks, mask_totals
from selftrain_jax.tasks.segmentation.pseudo.network import (
    MaskNetwork,
    canvas_side,
    enlarge_nearest,
    reduced_size,
)
from selftrain_jax.tasks.segmentation.pseudo.tiles import fitted_size, paste_tiles
from selftrain_jax.tasks.segmentation.run_files import MaskSettings, MaskTotals
from selftrain_jax.threads import NUM_READERS
from selftrain_jax.types import Example

BATCHES_AHEAD = 1  # a batch is an input of every scale, 27 MB an image at 512 px and the paper's six
_Size = tuple[int, int]  # height, width
_Labels = tuple[Array | None, ...]  # classes, confidence, is finite, maybe runners-up; on the devices


def mask_labeller(source: Source, network: MaskNetwork, *, num_threads: int = NUM_READERS) -> Labeller:
    """Label every pixel with its class and confidence, averaged over the network's sizes and models."""
    return Labeller(
        infer=partial(infer_masks, source=source, network=network, num_threads=num_threads),
        batch_size=network.batch_size,
        settings=MaskSettings(
            sizes_px=tuple(network.sizes_px),
            flip=network.flip,
            max_side_px=network.max_side_px,
            top_k=network.top_k,
            num_models=len(network.models),
            tile_px=network.tiling.tile_px if network.tiling else 0,
            tile_overlap_px=network.tiling.overlap_px if network.tiling else 0,
        ),
        totals=MaskTotals,
        count_images=count_masks,
        describe_counts=mask_totals,
    )


class Predicted(NamedTuple):
    """One image's class map, at its own size and as the image is fitted into the network's input."""

    image_id: str
    size_px: _Size
    original: UInt8[np.ndarray, "H W"]
    resized: UInt8[np.ndarray, "h w"]


def infer_masks(
    chunks: Iterable[Chunk], *, source: Source, network: MaskNetwork, num_threads: int = NUM_READERS
) -> Generator[InferredChunk, None, None]:
    """Label the images of each chunk, or their tiles, which are then put together.

    Labels are `image_id`, `mask` (every pixel's best class), `confidence` (types.Example), `is_pseudo` and,
    if the network labels with more than one class, `runners_up`.
    An image, or a tile, above `network.max_side_px` is labelled at that size, and its maps are enlarged by
    nearest.

    Raises:
        InputError: the network's logits are not finite.

    Paper: Section 3.1. Differs: no pixel is ignored yet; the threshold acts on the stored confidence.
    """
    return infer_by_tiles(
        chunks,
        source=source,
        tiling=network.tiling,
        batch_size=network.batch_size,
        infer=partial(_infer, network=network, num_threads=num_threads),
        merge=paste_tiles,
    )


def _infer(
    chunks: Iterable[Chunk],
    *,
    source: Source,
    network: MaskNetwork,
    num_threads: int,
    read: ReadPixels | None = None,
) -> Generator[InferredChunk, None, None]:
    with closing(_run(chunks, source, network, None, num_threads, read)) as results:
        for shard, images, (labels, _) in results:
            yield label_chunk(shard, images, partial(_to_labels, jax.device_get(labels), network))


def predict_masks(
    *, source: Source, network: MaskNetwork, frame_size_px: int
) -> Generator[Predicted, None, None]:
    """Yield every image's class map in the source's order, in two frames.

    `resized` is the frame of the official evaluation, the image fitted into a square of `frame_size_px`: from
    the same logits or, of tiles, the class map shrunk as the true mask is.

    Raises:
        InputError: an image does not decode, or the network's logits are not finite.
    """
    chunks = chunks_in_order(len(source), network.batch_size)
    if network.tiling is not None:
        yield from _predict_tiled(chunks, source, network, frame_size_px)
        return
    with closing(_run(chunks, source, network, frame_size_px, num_threads=NUM_READERS)) as results:
        for _, images, (labels, framed) in results:
            classes, is_finite, resized = jax.device_get((labels[0], labels[2], framed[0]))
            for row, image in enumerate(images):
                if isinstance(image, InputError):
                    raise image
                _check_finite(is_finite[row], image)
                original = _to_original(classes[row], image, network)
                yield Predicted(image.image_id, image.size_px, original, _cut(resized[row], image.geometry))


def _predict_tiled(
    chunks: Iterable[Chunk], source: Source, network: MaskNetwork, frame_size_px: int
) -> Generator[Predicted, None, None]:
    with closing(infer_masks(chunks, source=source, network=network)) as inferred:
        for image in (image for _, images in inferred for image in images):
            if isinstance(image, InputError):
                raise image
            mask = image.labels["mask"]
            resized = enlarge_nearest(mask, fitted_size(image.size_px, frame_size_px))
            yield Predicted(image.labels["image_id"], image.size_px, mask, resized)


def _run(
    chunks: Iterable[Chunk],
    source: Source,
    network: MaskNetwork,
    frame_size_px: int | None,
    num_threads: int,
    read: ReadPixels | None = None,
) -> Generator[tuple[int, list[Loaded | InputError], tuple[_Labels, _Labels]], None, None]:
    """Yield each chunk's shard, its images, and their labels at the images' own size and in the frame."""
    return run_ahead(
        chunks,
        source=source,
        load=lambda image: _load(image, network, frame_size_px),
        dispatch=lambda rows: _dispatch(rows, network, frame_size_px),
        batches_ahead=BATCHES_AHEAD,
        num_threads=num_threads,
        read=read,
    )


def _load(
    image: UInt8[np.ndarray, "H W 3"], network: MaskNetwork, frame_size_px: int | None
) -> tuple[list[Fitted], _Size]:
    """Fit an image into the input of every view; return the part of the frame that it covers too."""
    views = [network.load(image[:, ::-1] if mirrored else image, size) for size, mirrored in network.views]
    if frame_size_px is None:
        return views, image.shape[:2]
    covered_px = {size: part for (size, _), (_, part) in zip(network.views, views, strict=True)}
    if frame_size_px not in covered_px:
        covered_px[frame_size_px] = network.load(image, frame_size_px)[1]
    height, width = covered_px[frame_size_px].tolist()
    return views, (height, width)


def _dispatch(
    rows: Mapping[int, Loaded], network: MaskNetwork, frame_size_px: int | None
) -> tuple[_Labels, _Labels]:
    """Start a batch's logits of every view, and the class maps in both frames; without a frame, one twice."""
    num_models = len(network.models)
    scaled_px = np.ones((network.batch_size, len(network.views) * num_models, 2), np.int32)
    target_px, frame_px = (np.ones((network.batch_size, 2), np.int32) for _ in range(2))
    for row, image in rows.items():
        scaled_px[row] = [covered_px for _, covered_px in image.inputs for _ in range(num_models)]
        frame_px[row] = image.geometry
        target_px[row] = reduced_size(image.size_px, network.max_side_px)
    logits = [started for view in range(len(network.views)) for started in _start_view(rows, view, network)]
    are_mirrored = tuple(mirrored for _, mirrored in network.views for _ in range(num_models))

    def label(size_px: Int[np.ndarray, "B 2"], canvas_px: int) -> _Labels:
        network.shapes_used.canvases_px.add(canvas_px)
        return network.label(logits, scaled_px, size_px, canvas_px, are_mirrored)

    labels = label(target_px, canvas_side(int(target_px.max()), network.max_side_px))
    return labels, label(frame_px, frame_size_px) if frame_size_px is not None else labels


def _start_view(rows: Mapping[int, Loaded], view: int, network: MaskNetwork) -> list[Array]:
    """Run every model on [batch_size, S, S, 3], whether an image decodes or not."""
    size_px, _ = network.views[view]
    network.shapes_used.inputs_px.add(size_px)
    of_view = {row: image.inputs[view] for row, image in rows.items()}
    fitted = stack_fitted(of_view, network.batch_size, size_px)
    return [predict(fitted).logits for predict in network.models]


def _to_labels(
    found: tuple[np.ndarray | None, ...], network: MaskNetwork, row: int, image: Loaded
) -> Example:
    """Return an image's maps at its own size, of what `Label` found for a batch."""
    classes, confidence, is_finite, *rest = (part for part in found if part is not None)
    _check_finite(is_finite[row], image)
    mask, confident, *others = (
        _to_original(values[row], image, network) for values in (classes, confidence, *rest)
    )
    more: Example = {"runners_up": others[0]} if others else {}
    return {"image_id": image.image_id, "mask": mask, "confidence": confident, "is_pseudo": True, **more}


def _to_original(
    values: UInt8[np.ndarray, "C C *R"], image: Loaded, network: MaskNetwork
) -> UInt8[np.ndarray, "H W *R"]:
    labelled = _cut(values, reduced_size(image.size_px, network.max_side_px))
    return labelled if labelled.shape[:2] == image.size_px else enlarge_nearest(labelled, image.size_px)


def _cut(values: UInt8[np.ndarray, "C C *R"], size_px: _Size) -> UInt8[np.ndarray, "h w *R"]:
    """Copy an image's part of its canvas, so that the batch can be freed."""
    return values[: size_px[0], : size_px[1]].copy()


def _check_finite(is_finite: np.bool_, image: Loaded) -> None:
    if not is_finite:
        raise InputError(
            f"image {image.image_id}: the network's logits are not finite. Its checkpoint or its number "
            "type is broken; evaluate it, and try config.model.dtype=float32."
        )
