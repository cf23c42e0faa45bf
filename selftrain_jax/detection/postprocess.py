"""From boxes and class logits to detections; call `select_detections`."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from selftrain_jax.detection.nms import HardNMS, SoftNMS, suppress
from selftrain_jax.types import Detections

MERGED = 2048  # an image's best scores that enter NMS together


@dataclass(frozen=True)
class Postprocess:
    """The settings of `select_detections`; the defaults are the authors'."""

    score_threshold: float = 0.05
    pre_nms_top_k: int = 5000  # boxes of each class that enter NMS
    max_detections: int = 100  # of an image, and of each class
    nms: HardNMS | SoftNMS = field(default_factory=HardNMS)


DEFAULT_POSTPROCESS = Postprocess()


def select_detections(
    boxes: Float[Array, "B A 4"], logits: Float[Array, "B A K"], settings: Postprocess
) -> Detections:
    """Apply NMS within each class, then keep the best detections of all classes.

    Scores are sigmoids; channel 0, the background, is left out. NMS of an image's best `MERGED` scores in one
    go finds the same as NMS class by class unless a score that it leaves out could be among the best; if so
    in any image, the batch goes class by class, which takes many times as long.
    """
    scores = jax.nn.sigmoid(logits[..., 1:])  # [B, A, K-1]
    num_merged = min(MERGED, settings.pre_nms_top_k)
    if scores.shape[1] * scores.shape[2] <= num_merged:
        return select_class_by_class(boxes, scores, settings)
    merged, is_same = select_merged(boxes, scores, settings, num_merged)
    return lax.cond(is_same.all(), lambda: merged, lambda: select_class_by_class(boxes, scores, settings))


def select_merged(
    boxes: Float[Array, "B A 4"], scores: Float[Array, "B A C"], settings: Postprocess, num_merged: int
) -> tuple[Detections, Bool[Array, " B"]]:
    """Select from the best `num_merged` scores of all classes; say for each image if that is all there is.

    It is where no score that was left out exceeds the threshold, or the last detection: of equal scores
    either may be found.
    """
    best_anchors = lax.top_k(scores.max(axis=2), min(num_merged, scores.shape[1]))[1]
    anchors = jnp.sort(best_anchors, axis=1)  # ties go to the first anchor of the first class
    by_class = jnp.take_along_axis(scores, anchors[..., None], axis=1).swapaxes(1, 2)
    num_anchors = by_class.shape[2]
    best, index = lax.top_k(by_class.reshape(scores.shape[0], -1), num_merged)
    classes, anchors = index // num_anchors, jnp.take_along_axis(anchors, index % num_anchors, axis=1)
    candidates = jax.vmap(_gather_boxes)(boxes, anchors)
    picked, kept = suppress(
        candidates,
        best,
        method=settings.nms,
        score_threshold=settings.score_threshold,
        num_kept=min(settings.max_detections, num_merged),
        classes=classes,
    )
    found = _detections(candidates, kept, picked, classes, settings.max_detections)
    left_out = best[:, -1]
    return found, (left_out <= settings.score_threshold) | (found.scores[:, -1] >= left_out)


def select_class_by_class(
    boxes: Float[Array, "B A 4"], scores: Float[Array, "B A C"], settings: Postprocess
) -> Detections:
    """Select from the best `pre_nms_top_k` scores of each class."""
    num_classes, num_candidates = scores.shape[2], min(settings.pre_nms_top_k, scores.shape[1])
    scores, anchor = lax.top_k(scores.swapaxes(1, 2), num_candidates)  # [B, C, D]
    candidates = jax.vmap(_gather_boxes)(boxes, anchor)  # [B, C, D, 4]
    num_kept = min(settings.max_detections, num_candidates)
    index, scores = suppress(
        candidates, scores, method=settings.nms, score_threshold=settings.score_threshold, num_kept=num_kept
    )  # [B, C, E]
    kept = jax.vmap(jax.vmap(_gather_boxes))(candidates, index)  # [B, C, E, 4]
    num_images = boxes.shape[0]
    scores = scores.reshape(num_images, -1)
    best, index = lax.top_k(scores, min(settings.max_detections, scores.shape[1]))
    classes = jnp.broadcast_to(jnp.repeat(jnp.arange(num_classes), num_kept), scores.shape)
    return _detections(kept.reshape(num_images, -1, 4), best, index, classes, settings.max_detections)


def _gather_boxes(boxes: Float[Array, "A 4"], index: Int[Array, "..."]) -> Float[Array, "... 4"]:
    """Gather boxes as columns; with rows of four numbers XLA moves 23 times the bytes on a TPU."""
    columns = jnp.take(boxes.T, index.reshape(-1), axis=1)
    return jnp.moveaxis(columns.reshape(4, *index.shape), 0, -1)


def _detections(
    boxes: Float[Array, "B D 4"],
    scores: Float[Array, "B E"],
    index: Int[Array, "B E"],
    classes: Int[Array, "B D"],
    max_detections: int,
) -> Detections:
    """Gather the boxes of E indices and their classes, from 0; a score of 0 is none."""
    missing = max_detections - scores.shape[1]
    scores, index = (jnp.pad(values, ((0, 0), (0, missing))) for values in (scores, index))
    valid = scores > 0
    index = jnp.where(valid, index, 0)
    best_boxes = jnp.take_along_axis(boxes, index[..., None], axis=1)
    return Detections(
        boxes=jnp.where(valid[..., None], best_boxes, 0),
        scores=scores,
        classes=jnp.where(valid, jnp.take_along_axis(classes, index, axis=1) + 1, 0),
        valid=valid,
    )
