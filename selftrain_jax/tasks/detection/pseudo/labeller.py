"""The teacher as it labels with boxes, in the pixels of the original image; call `box_labeller`.

`infer_images` runs the network, `count_boxes` and `sum_box_counts` are what the manifest says of the boxes.
"""

import functools
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, UInt8

from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.run_files.manifest import Histogram
from selftrain_jax.selftrain.inference import Chunk, InferredChunk, Loaded, label_chunk, run_ahead
from selftrain_jax.selftrain.label_job import Labeller
from selftrain_jax.selftrain.manifest import HISTOGRAM_EDGES
from selftrain_jax.tasks.detection.run_files import BoxSettings, BoxTotals, ClassBoxes
from selftrain_jax.types import Category, Detections, Example

BATCHES_AHEAD = 2
Load = Callable[[UInt8[np.ndarray, "H W 3"]], tuple[Float[np.ndarray, "S S 3"], Float[np.ndarray, " 2"]]]
"""From an image to the network's input and its scale: network px = original px * scale."""


@dataclass(frozen=True)
class Network:
    """A trained network with its weights, as inference over images uses it."""

    load: Load
    predict_batch: Callable[[Float[np.ndarray, "B S S 3"]], Detections]
    batch_size: int
    image_size_px: int
    score_floor: float  # detections below it are dropped


class BoxCounts(NamedTuple):
    """Counts over the images of one shard; arrays by class are indexed by Category.id."""

    at_floor: np.ndarray  # [K]
    at_threshold: np.ndarray  # [K]
    images_without_boxes: int  # at the threshold
    by_score: np.ndarray  # [20]


def box_labeller(source: Source, network: Network, *, num_threads: int = 8) -> Labeller:
    """Label with boxes of score >= `network.score_floor`."""
    return Labeller(
        infer=functools.partial(infer_images, source=source, network=network, num_threads=num_threads),
        batch_size=network.batch_size,
        settings=BoxSettings(score_floor=network.score_floor, image_size_px=network.image_size_px),
        totals=BoxTotals,
        count_shard=count_boxes,
        sum_counts=sum_box_counts,
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


def sum_box_counts(
    counts: Sequence[BoxCounts], categories: Sequence[Category], settings: BoxSettings
) -> BoxTotals:
    """Add up the counts of all shards."""
    at_floor, at_threshold, num_empty, by_score = (
        np.sum(values, axis=0) for values in zip(*counts, strict=True)
    )
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
    chunks: Iterable[Chunk], *, source: Source, network: Network, num_threads: int = 4
) -> Generator[InferredChunk, None, None]:
    """Detect in the images of each chunk.

    The network always sees [batch_size, S, S, 3]: rows without an image that decodes are zero.

    Raises:
        InputError: the network's scores or boxes are not finite.
    """

    def dispatch(rows: Mapping[int, Loaded]) -> Detections:
        images = np.zeros((network.batch_size, *2 * (network.image_size_px,), 3), np.float32)
        for row, loaded in rows.items():
            images[row] = loaded.inputs
        return network.predict_batch(images)

    predictions = run_ahead(
        chunks,
        source=source,
        load=network.load,
        dispatch=dispatch,
        batches_ahead=BATCHES_AHEAD,
        num_threads=num_threads,
    )
    with closing(predictions):
        for shard, images, detections in predictions:
            found = Detections(*jax.device_get(tuple(detections)))
            yield label_chunk(shard, images, functools.partial(_to_labels, found, network.score_floor))


def to_original_pixels(
    boxes: Float[np.ndarray, "N 4"], scale: Float[np.ndarray, " 2"], size_px: tuple[int, int]
) -> Float[np.ndarray, "N 4"]:
    """Map boxes from the network's input to the original image: px / scale, clipped to the image."""
    original = boxes / np.tile(scale, 2).astype(np.float32)
    return np.clip(original, 0, np.tile(np.asarray(size_px, np.float32), 2))


def _to_labels(found: Detections, score_floor: float, row: int, loaded: Loaded) -> Example:
    """Keep an image's detections of at least the floor whose part inside the image is not empty."""
    valid = np.asarray(found.valid[row])
    boxes, scores = (np.asarray(values[row], np.float32)[valid] for values in (found.boxes, found.scores))
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        raise InputError(
            f"image {loaded.image_id}: the teacher's boxes or scores are not finite. Its checkpoint or its "
            "number type is broken; evaluate the teacher, and try config.model.dtype=float32."
        )
    boxes = to_original_pixels(boxes, loaded.geometry, loaded.size_px)
    kept = (scores >= score_floor) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return {
        "image_id": loaded.image_id,
        "boxes": boxes[kept],
        "classes": np.asarray(found.classes[row])[valid][kept],
        "scores": scores[kept],
        "is_pseudo": True,
    }
