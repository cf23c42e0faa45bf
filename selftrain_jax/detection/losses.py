"""RetinaNet's losses, reduced for human and pseudo labels apart: `image_losses`, then `source_losses`."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from selftrain_jax.detection.matching import IGNORED, AnchorTargets


class ImageLosses(NamedTuple):
    """Each image's losses, summed over its anchors."""

    classes: Float[Array, " B"]
    boxes: Float[Array, " B"]


class SourceLoss(NamedTuple):
    """The losses over the images of one source, 0 where there are none."""

    classes: Float[Array, ""]
    boxes: Float[Array, ""]
    num_positives: Float[Array, ""]  # an image
    num_images: Float[Array, ""]


def focal_loss(
    logits: Float[Array, "*n AK"], classes: Int[Array, "*n A"], *, alpha: float = 0.25, gamma: float = 1.5
) -> Float[Array, "*n"]:
    """Sum α_t (1 - p_t)^γ cross-entropy over K sigmoids of each of a location's A anchors.

    α_t is alpha at an anchor's class and 1 - alpha elsewhere; an anchor that is IGNORED counts nothing and
    has no gradient. (1 - p_t)^γ is taken through logarithms, since p_t reaches 1 in float32.
    Channels go anchor after anchor, and stay so: [.., A, K] would be copied, and padded, on a TPU.

    Paper: detection follows RetinaNet; γ = 1.5 is from the authors' configuration.
    """
    num_anchors = classes.shape[-1]
    anchor, class_ = np.divmod(np.arange(logits.shape[-1]), logits.shape[-1] // num_anchors)
    of_channel = jnp.select(
        [anchor == index for index in range(num_anchors)], jnp.split(classes, num_anchors, axis=-1)
    )
    is_target = of_channel == class_
    margin = jnp.where(is_target, logits, -logits)  # p_t = sigmoid(margin)
    cross_entropy = jax.nn.softplus(-margin)
    modulator = jnp.exp(-gamma * jax.nn.softplus(margin))
    weighted = jnp.where(is_target, alpha, 1 - alpha) * modulator * cross_entropy
    return jnp.where(of_channel == IGNORED, 0, weighted).sum(axis=-1)


def box_loss(
    outputs: Float[Array, "*n C"], targets: Float[Array, "*n C"], *, delta: float = 0.1
) -> Float[Array, "*n"]:
    """Sum Huber(output - target) over a location's coordinates whose target is not exactly 0.

    Huber(e) = e²/2 up to |e| = delta, then delta·|e| - delta²/2. Targets are 0 where an anchor is not
    positive; a positive anchor's coordinate that happens to be 0 is dropped too, as in the authors' code.
    """
    error = jnp.abs(outputs - targets)
    huber = jnp.where(error <= delta, 0.5 * error**2, delta * error - 0.5 * delta**2)
    return jnp.where(targets != 0, huber, 0).sum(axis=-1)


def image_losses(
    logits: Mapping[int, Float[Array, "B _ _ AK"]],
    outputs: Mapping[int, Float[Array, "B _ _ A4"]],
    targets: AnchorTargets,
    *,
    alpha: float = 0.25,
    gamma: float = 1.5,
    delta: float = 0.1,
) -> ImageLosses:
    """Sum focal and box loss in float32 over each image, map after map, finest first as the targets are.

    Memory: the logits of all levels never lie in one array, and the backward pass finds the network's
    outputs alone and computes the loss once more from them.
    """

    @jax.checkpoint
    def of_level(
        logits: Float[Array, "B h w AK"],
        outputs: Float[Array, "B h w A4"],
        classes: Int[Array, "B n"],
        boxes: Float[Array, "B n 4"],
    ) -> ImageLosses:
        where = logits.shape[:3]
        class_losses = focal_loss(
            logits.astype(jnp.float32), classes.reshape(*where, -1), alpha=alpha, gamma=gamma
        )
        box_losses = box_loss(outputs.astype(jnp.float32), boxes.reshape(*where, -1), delta=delta)
        return ImageLosses(class_losses.sum(axis=(1, 2)), box_losses.sum(axis=(1, 2)))

    ends = np.cumsum([x[0].size // 4 for x in outputs.values()])
    level_targets = (jnp.split(each, ends[:-1], axis=1) for each in (targets.classes, targets.boxes))
    levels = zip(logits.values(), outputs.values(), *level_targets, strict=True)
    classes, boxes = zip(*(of_level(*level) for level in levels), strict=True)
    return ImageLosses(sum(classes), sum(boxes))


def source_losses(
    losses: ImageLosses, num_positives: Float[Array, " B"], in_source: Bool[Array, " B"]
) -> SourceLoss:
    """Divide the sums over one source's images by its own N = positive anchors + 1 (boxes: 4·N).

    Paper: appendix B needs the two losses apart; each over its own images is our reading.
    Differs: N counts the whole batch, where the authors' TPU code counted each core's share.
    """

    def total(x: Float[Array, " B"]) -> Float[Array, ""]:
        return jnp.where(in_source, x, 0).sum()

    num_images = in_source.sum().astype(jnp.float32)
    normaliser = total(num_positives) + 1
    return SourceLoss(
        classes=total(losses.classes) / normaliser,
        boxes=total(losses.boxes) / (4 * normaliser),
        num_positives=total(num_positives) / jnp.maximum(num_images, 1),
        num_images=num_images,
    )
