"""From boxes and class logits to detections; call `select_detections`."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from selftrain_jax.detection.nms import HardNMS, SoftNMS, suppress
from selftrain_jax.types import Detections


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

    Scores are sigmoids; channel 0, the background, is left out.
    """
    scores = jax.nn.sigmoid(logits[..., 1:]).swapaxes(1, 2)  # [B, K-1, A]
    scores, anchor = lax.top_k(scores, min(settings.pre_nms_top_k, scores.shape[-1]))  # [B, K-1, D]
    candidates = jax.vmap(_gather_boxes)(boxes, anchor)  # [B, K-1, D, 4]
    num_kept = min(settings.max_detections, scores.shape[-1])
    index, scores = suppress(
        candidates, scores, method=settings.nms, score_threshold=settings.score_threshold, num_kept=num_kept
    )  # [B, K-1, E]
    kept = jax.vmap(jax.vmap(_gather_boxes))(candidates, index)  # [B, K-1, E, 4]
    return _select_best(kept, scores, settings.max_detections)


def _gather_boxes(boxes: Float[Array, "A 4"], index: Int[Array, "..."]) -> Float[Array, "... 4"]:
    """Gather boxes as columns; with rows of four numbers XLA moves 23 times the bytes on a TPU."""
    columns = jnp.take(boxes.T, index.reshape(-1), axis=1)
    return jnp.moveaxis(columns.reshape(4, *index.shape), 0, -1)


def _select_best(
    boxes: Float[Array, "B C E 4"], scores: Float[Array, "B C E"], max_detections: int
) -> Detections:
    num_images, _, num_kept = scores.shape
    flat = scores.reshape(num_images, -1)
    flat = jnp.pad(flat, ((0, 0), (0, max(max_detections - flat.shape[1], 0))))
    best, index = lax.top_k(flat, max_detections)
    valid = best > 0
    index = jnp.where(valid, index, 0)
    best_boxes = jnp.take_along_axis(boxes.reshape(num_images, -1, 4), index[..., None], axis=1)
    return Detections(
        boxes=jnp.where(valid[..., None], best_boxes, 0),
        scores=best,
        classes=jnp.where(valid, index // num_kept + 1, 0),
        valid=valid,
    )
