"""Non-maximum suppression, hard and soft, with static shapes; call `suppress`."""

from dataclasses import dataclass

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from selftrain_jax.detection import boxes as box_ops
from selftrain_jax.errors import InputError

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


def suppress(
    boxes: Float[Array, "*n D 4"],
    scores: Float[Array, "*n D"],
    *,
    method: HardNMS | SoftNMS,
    score_threshold: float,
    num_kept: int,
    classes: Int[Array, "*n D"] | None = None,
) -> tuple[Int[Array, "*n E"], Float[Array, "*n E"]]:
    """Pick the best box `num_kept` times, each time lowering the scores of the boxes that overlap it.

    Leading axes are independent problems (images, classes). With `classes`, a box lowers the scores of its
    own class alone.

    Returns:
        Indices and (lowered) scores, best first. When no score is above `score_threshold` any more, the score
        is 0 and the index has no meaning.
    """

    def pick(scores: Float[Array, "*n D"], _: None) -> tuple[Array, tuple[Array, Array]]:
        index = jnp.argmax(scores, axis=-1)[..., None]
        score = jnp.take_along_axis(scores, index, axis=-1)
        box = jnp.take_along_axis(boxes, index[..., None], axis=-2)  # [*n, 1, 4]
        kept = method.keep_frac(box_ops.iou(box, boxes))
        if classes is not None:
            kept = jnp.where(classes == jnp.take_along_axis(classes, index, axis=-1), kept, 1)
        scores = scores * kept
        scores = jnp.where(jnp.arange(scores.shape[-1]) == index, 0, scores)
        return scores, (index[..., 0], score[..., 0])

    above = jnp.where(scores > score_threshold, scores, 0)
    _, (index, score) = lax.scan(pick, above, length=num_kept)
    index, score = jnp.moveaxis(index, 0, -1), jnp.moveaxis(score, 0, -1)
    return index, jnp.where(score > score_threshold, score, 0)
