"""The teacher as it labels with boxes, in the pixels of the original image; call `box_labeller`.

The boxes of several views of an image (`views.py`), or of several models, are merged. `infer_images` runs the
network, `count_boxes` and `box_totals` are what the manifest says of the boxes.
"""

import functools
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int, UInt8

from selftrain_jax.data.source import Source
from selftrain_jax.data.tiles import Tiling
from selftrain_jax.detection.box_fusion import fuse_boxes
from selftrain_jax.detection.tile_merge import TileBoxes, merge_tiles
from selftrain_jax.errors import InputError
from selftrain_jax.run_files.manifest import Histogram
from selftrain_jax.selftrain.inference import (
    Chunk,
    Fitted,
    InferredChunk,
    Loaded,
    ReadPixels,
    label_chunk,
    run_ahead,
    stack_fitted,
)
from selftrain_jax.selftrain.labeller import Labeller
from selftrain_jax.selftrain.manifest import HISTOGRAM_EDGES
from selftrain_jax.selftrain.tile_inference import infer_by_tiles
from selftrain_jax.tasks.detection.pseudo.views import View, format_views
from selftrain_jax.tasks.detection.run_files import BoxSettings, BoxTotals, ClassBoxes
from selftrain_jax.threads import NUM_READERS
from selftrain_jax.types import Category, Detections, Example, FittedImages

BATCHES_AHEAD = 2  # of one view; of several one batch, which is an input of each
Load = Callable[[UInt8[np.ndarray, "H W 3"], int], Fitted]
"""From an image and the side of the network's input to that input, and what the image covers of it."""


Predict = Callable[[FittedImages], Detections]
"""The network with the weights of one model; compiled once for each S."""


@dataclass(frozen=True)
class Network:
    """A trained network with its weights, or those of several models, as inference over images uses it."""

    load: Load
    models: tuple[Predict, ...]
    batch_size: int
    image_size_px: int
    score_floor: float  # detections below it are dropped, after the views were merged too
    views: tuple[View, ...] = ()  # none stands for the image as it is, at `image_size_px`
    tiling: Tiling | None = None  # how images are cut into what the network sees; None: they are not

    @property
    def inputs(self) -> tuple[View, ...]:
        """How the network looks at an image, once or more."""
        return self.views or (View(1.0, False, self.image_size_px),)


class BoxCounts(NamedTuple):
    """Counts over some images; arrays by class are indexed by Category.id."""

    at_floor: np.ndarray  # [K]
    at_threshold: np.ndarray  # [K]
    images_without_boxes: int  # at the threshold
    by_score: np.ndarray  # [20]


def box_labeller(source: Source, network: Network, *, num_threads: int = NUM_READERS) -> Labeller:
    """Label with boxes of score >= `network.score_floor`."""
    return Labeller(
        infer=functools.partial(infer_images, source=source, network=network, num_threads=num_threads),
        batch_size=network.batch_size,
        settings=BoxSettings(
            score_floor=network.score_floor,
            image_size_px=network.image_size_px,
            views=format_views(network.inputs),
            num_models=len(network.models),
            tile_px=network.tiling.tile_px if network.tiling else 0,
            tile_overlap_px=network.tiling.overlap_px if network.tiling else 0,
        ),
        totals=BoxTotals,
        count_images=count_boxes,
        describe_counts=box_totals,
    )


def count_boxes(examples: Iterable[Example], thresholds: np.ndarray) -> BoxCounts:
    """Count pseudo boxes; `thresholds` are by Category.id."""
    at_floor, at_threshold = np.zeros((2, len(thresholds)), np.int64)
    by_score = np.zeros(len(HISTOGRAM_EDGES) - 1, np.int64)
    num_empty = 0
    for example in examples:
        scores, classes = example["scores"], example["classes"]
        kept = scores >= thresholds[classes]
        at_floor += np.bincount(classes, minlength=len(thresholds))
        at_threshold += np.bincount(classes[kept], minlength=len(thresholds))
        by_score += np.histogram(scores, HISTOGRAM_EDGES)[0]
        num_empty += not kept.any()
    return BoxCounts(at_floor, at_threshold, num_empty, by_score)


def box_totals(counts: BoxCounts, categories: Sequence[Category], settings: BoxSettings) -> BoxTotals:
    """Return what a manifest says of all boxes."""
    at_floor, at_threshold, num_empty, by_score = counts
    return BoxTotals(
        settings=settings,
        num_boxes=int(at_floor.sum()),
        num_boxes_at_threshold=int(at_threshold.sum()),
        images_without_boxes_at_threshold=int(num_empty),
        per_class={
            name: ClassBoxes(boxes_at_floor=int(at_floor[id]), boxes_at_threshold=int(at_threshold[id]))
            for id, name in categories
        },
        score_histogram=Histogram(edges=tuple(HISTOGRAM_EDGES.tolist()), counts=tuple(by_score.tolist())),
    )


def infer_images(
    chunks: Iterable[Chunk], *, source: Source, network: Network, num_threads: int = NUM_READERS
) -> Generator[InferredChunk, None, None]:
    """Detect in the images of each chunk, or in their tiles, whose boxes are merged on the whole image.

    The network always sees [batch_size, S, S, 3], whether an image decodes or not. Boxes of several views or
    models are merged, and the best kept, as many as of one view, with their `place_std`. Of tiles
    (`detection.tile_merge`) all are kept.

    Raises:
        InputError: the network's scores or boxes are not finite.
    """
    return infer_by_tiles(
        chunks,
        source=source,
        tiling=network.tiling,
        batch_size=network.batch_size,
        infer=functools.partial(_infer, network=network, num_threads=num_threads),
        merge=_merge_tiles,
    )


def _infer(
    chunks: Iterable[Chunk],
    *,
    source: Source,
    network: Network,
    num_threads: int,
    read: ReadPixels | None = None,
) -> Generator[InferredChunk, None, None]:
    predictions = run_ahead(
        chunks,
        source=source,
        load=lambda image: _load(image, network),
        dispatch=lambda rows: _start_views(rows, network),
        batches_ahead=BATCHES_AHEAD if len(network.inputs) == 1 else 1,
        num_threads=num_threads,
        read=read,
    )
    with closing(predictions):
        for shard, images, by_view in predictions:
            found = [Detections(*jax.device_get(tuple(detections))) for detections in by_view]
            yield label_chunk(shard, images, functools.partial(_to_labels, found, network))


def _merge_tiles(
    by_tile: Sequence[Example], tiles: Int[np.ndarray, "T 4"], size_px: tuple[int, int]
) -> Example:
    """Move the boxes of an image's tiles to where they are in the image, and merge them."""
    has_places = "place_std" in by_tile[0]
    counts = [len(labels["boxes"]) for labels in by_tile]
    boxes, classes, scores = (
        np.concatenate([labels[key] for labels in by_tile]) for key in ("boxes", "classes", "scores")
    )
    tile = np.repeat(np.arange(len(by_tile)), counts)
    moved = boxes + np.tile(tiles[:, :2], 2)[tile].astype(np.float32)
    places = np.zeros(len(boxes), np.float32)
    if has_places:
        places = np.concatenate([labels["place_std"] for labels in by_tile])
    merged = merge_tiles(TileBoxes(moved, classes, scores, places, tile), tiles, size_px)
    found: Example = {
        "boxes": merged.boxes,
        "classes": merged.classes,
        "scores": merged.scores,
        "is_pseudo": True,
    }
    return found | {"place_std": merged.place_std} if has_places else found


def _load(
    image: UInt8[np.ndarray, "H W 3"], network: Network
) -> tuple[list[Fitted], list[Float[np.ndarray, " 2"]]]:
    """Return the network's input for each view, and its scale: network px = original px * scale."""
    inputs = [
        network.load(image[:, ::-1] if view.is_mirrored else image, view.size_px) for view in network.inputs
    ]
    size_px = np.array(image.shape[:2], np.float32)
    return inputs, [covered_px.astype(np.float32) / size_px for _, covered_px in inputs]


def _start_views(rows: Mapping[int, Loaded], network: Network) -> list[Detections]:
    """Start every model on every view of a batch, model by model of each view."""
    started = []
    for index, view in enumerate(network.inputs):
        of_view = {row: loaded.inputs[index] for row, loaded in rows.items()}
        fitted = stack_fitted(of_view, network.batch_size, view.size_px)
        started += [predict(fitted) for predict in network.models]
    return started


def to_original_pixels(
    boxes: Float[np.ndarray, "N 4"], scale: Float[np.ndarray, " 2"], size_px: tuple[int, int]
) -> Float[np.ndarray, "N 4"]:
    """Map boxes from the network's input to the original image: px / scale, clipped to the image."""
    original = boxes / np.tile(scale, 2).astype(np.float32)
    return np.clip(original, 0, np.tile(np.asarray(size_px, np.float32), 2))


def _to_labels(found: Sequence[Detections], network: Network, row: int, loaded: Loaded) -> Example:
    """Return an image's boxes of at least the floor: those of its one view, or all views' merged.

    What one more model finds in a view is merged as one more view.
    """
    seen = [pair for pair in zip(network.inputs, loaded.geometry, strict=True) for _ in network.models]
    by_view = [
        _labels_of_view(detections, view, scale, network.score_floor, row, loaded)
        for detections, (view, scale) in zip(found, seen, strict=True)
    ]
    if len(by_view) == 1:
        return by_view[0]
    boxes, classes, scores = (
        np.concatenate([labels[key] for labels in by_view]) for key in ("boxes", "classes", "scores")
    )
    views = np.repeat(np.arange(len(by_view)), [len(labels["boxes"]) for labels in by_view])
    fused = fuse_boxes(boxes, classes, scores, views, num_views=len(by_view))
    kept = np.flatnonzero(fused.scores >= network.score_floor)[: found[0].scores.shape[1]]
    return {
        "image_id": loaded.image_id,
        "boxes": fused.boxes[kept],
        "classes": fused.classes[kept],
        "scores": fused.scores[kept],
        "place_std": fused.place_std[kept],
        "is_pseudo": True,
    }


def _labels_of_view(
    found: Detections,
    view: View,
    scale: Float[np.ndarray, " 2"],
    score_floor: float,
    row: int,
    loaded: Loaded,
) -> Example:
    """Keep a view's detections of at least the floor whose part inside the image is not empty."""
    valid = np.asarray(found.valid[row])
    boxes, scores = (np.asarray(values[row], np.float32)[valid] for values in (found.boxes, found.scores))
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        raise InputError(
            f"image {loaded.image_id}: the teacher's boxes or scores are not finite. Its checkpoint or its "
            "number type is broken; evaluate the teacher, and try config.model.dtype=float32."
        )
    boxes = to_original_pixels(boxes, scale, loaded.size_px)
    if view.is_mirrored:
        boxes = _mirror(boxes, loaded.size_px[1])
    kept = (scores >= score_floor) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return {
        "image_id": loaded.image_id,
        "boxes": boxes[kept],
        "classes": np.asarray(found.classes[row])[valid][kept],
        "scores": scores[kept],
        "is_pseudo": True,
    }


def _mirror(boxes: Float[np.ndarray, "N 4"], width_px: int) -> Float[np.ndarray, "N 4"]:
    """Mirror left and right, as the augmentation does: x' = W - x."""
    ymin, xmin, ymax, xmax = boxes.T
    return np.stack([ymin, width_px - xmax, ymax, width_px - xmin], axis=1).astype(np.float32)
