"""From boxes and class logits to detections by hard or soft NMS, in static shapes: `select_detections`."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from selftrain_jax.detection import boxes as box_ops
from selftrain_jax.errors import InputError
from selftrain_jax.types import Detections

CONVENTIONS = ("bodla", "tensorflow")


@dataclass(frozen=True)
class HardNMS:
    """Drop a box that overlaps a better one by more than `iou_threshold`."""

    iou_threshold: float = 0.5

    def keep_frac(self, iou: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return 1 for boxes to keep and 0 for boxes to drop."""
        return (iou <= self.iou_threshold).astype(iou.dtype)


@dataclass(frozen=True)
class SoftNMS:
    """Lower the score of a box by its overlap with better ones, without dropping it.

    "bodla" is the published exp(-iou² / sigma), "tensorflow" is exp(-iou² / (2·sigma)) of the V5 operator.

    Paper: section 3.1, "Soft-NMS with a sigma of 0.3"; it does not say by which convention.
    """

    sigma: float = 0.3
    convention: str = "bodla"

    def __post_init__(self) -> None:
        """Refuse an unknown convention or a sigma that is not positive."""
        if self.convention not in CONVENTIONS:
            raise InputError(
                f"Soft-NMS convention is {self.convention!r}; use one of {', '.join(CONVENTIONS)}."
            )
        if not self.sigma > 0:
            raise InputError(f"Soft-NMS sigma is {self.sigma}; use a positive number, as the paper's 0.3.")

    def keep_frac(self, iou: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return the factor on the score."""
        width = self.sigma if self.convention == "bodla" else 2 * self.sigma
        return jnp.exp(-(iou**2) / width)


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


def suppress(
    boxes: Float[Array, "*n D 4"],
    scores: Float[Array, "*n D"],
    *,
    method: HardNMS | SoftNMS,
    score_threshold: float,
    num_kept: int,
) -> tuple[Int[Array, "*n E"], Float[Array, "*n E"]]:
    """Pick the best box `num_kept` times, each time lowering the scores of the boxes that overlap it.

    Leading axes are independent problems (images, classes).

    Returns:
        Indices and (lowered) scores, best first. When no score is above `score_threshold` any more, the score
        is 0 and the index has no meaning.
    """

    def pick(scores: Float[Array, "*n D"], _: None) -> tuple[Array, tuple[Array, Array]]:
        index = jnp.argmax(scores, axis=-1)[..., None]
        score = jnp.take_along_axis(scores, index, axis=-1)
        box = jnp.take_along_axis(boxes, index[..., None], axis=-2)  # [*n, 1, 4]
        scores = scores * method.keep_frac(box_ops.iou(box, boxes))
        scores = jnp.where(jnp.arange(scores.shape[-1]) == index, 0, scores)
        return scores, (index[..., 0], score[..., 0])

    above = jnp.where(scores > score_threshold, scores, 0)
    _, (index, score) = lax.scan(pick, above, length=num_kept)
    index, score = jnp.moveaxis(index, 0, -1), jnp.moveaxis(score, 0, -1)
    return index, jnp.where(score > score_threshold, score, 0)
