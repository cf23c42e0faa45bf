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
    logits: Float[Array, "*n K"], classes: Int[Array, "*n"], *, alpha: float = 0.25, gamma: float = 1.5
) -> Float[Array, "*n"]:
    """Sum α_t (1 - p_t)^γ cross-entropy over the K sigmoids; 0, with zero gradient, where IGNORED.

    α_t is alpha at an anchor's class and 1 - alpha elsewhere. (1 - p_t)^γ is taken through logarithms,
    since p_t reaches 1 in float32.

    Paper: detection follows RetinaNet; γ = 1.5 is from the authors' configuration.
    """
    is_target = classes[..., None] == jnp.arange(logits.shape[-1])
    margin = jnp.where(is_target, logits, -logits)  # p_t = sigmoid(margin)
    cross_entropy = jax.nn.softplus(-margin)
    modulator = jnp.exp(-gamma * jax.nn.softplus(margin))
    weighted = jnp.where(is_target, alpha, 1 - alpha) * modulator * cross_entropy
    return jnp.where(classes == IGNORED, 0, weighted.sum(axis=-1))


def box_loss(
    outputs: Float[Array, "*n 4"], targets: Float[Array, "*n 4"], *, delta: float = 0.1
) -> Float[Array, "*n"]:
    """Sum Huber(output - target) over the coordinates whose target is not exactly 0.

    Huber(e) = e²/2 up to |e| = delta, then delta·|e| - delta²/2. Targets are 0 where an anchor is not
    positive; a positive anchor's coordinate that happens to be 0 is dropped too, as in the authors' code.
    """
    error = jnp.abs(outputs - targets)
    huber = jnp.where(error <= delta, 0.5 * error**2, delta * error - 0.5 * delta**2)
    return jnp.where(targets != 0, huber, 0).sum(axis=-1)


def image_losses(
    logits: Mapping[int, Float[Array, "B _ K"]],
    outputs: Mapping[int, Float[Array, "B _ 4"]],
    targets: AnchorTargets,
    *,
    alpha: float = 0.25,
    gamma: float = 1.5,
    delta: float = 0.1,
) -> ImageLosses:
    """Sum focal and box loss over each image's anchors, level after level, finest first as the targets are.

    Memory: the logits of all levels never lie in one array, and the backward pass finds a level's logits
    alone and computes its loss once more from them.
    """

    @jax.checkpoint
    def of_level(
        logits: Float[Array, "B n K"],
        outputs: Float[Array, "B n 4"],
        classes: Int[Array, "B n"],
        boxes: Float[Array, "B n 4"],
    ) -> ImageLosses:
        class_losses = focal_loss(logits, classes, alpha=alpha, gamma=gamma)
        return ImageLosses(class_losses.sum(axis=1), box_loss(outputs, boxes, delta=delta).sum(axis=1))

    ends = np.cumsum([logits[level].shape[1] for level in logits])
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
