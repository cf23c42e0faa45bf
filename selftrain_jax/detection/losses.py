"""RetinaNet's losses, for human and pseudo labels separately: `image_losses`, then `source_losses`."""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

from selftrain_jax.detection.matching import IGNORED_ANCHOR, AnchorTargets
from selftrain_jax.models.platforms import choose_by_platform

MIN_DISTANCE = 1e-6  # of a soft target, so that the gradient is finite there for any γ


class ImageLosses(NamedTuple):
    """Each image's losses, summed over its anchors."""

    classes: Float[Array, " B"]
    boxes: Float[Array, " B"]


class SourceLoss(NamedTuple):
    """The losses over the images of one source; 0 if there are none."""

    classes: Float[Array, ""]
    boxes: Float[Array, ""]
    num_positives: Float[Array, ""]  # per image
    num_images: Float[Array, ""]


def focal_loss(
    logits: Float[Array, "*n AK"],
    classes: Int[Array, "*n A"],
    weights: Float[Array, "*n A"] | None = None,
    class_targets: Float[Array, "*n A"] | None = None,
    *,
    alpha: float = 0.25,
    gamma: float = 1.5,
) -> Float[Array, "*n"]:
    """Sum α_t (1 - p_t)^γ cross-entropy over the K sigmoids of each of a location's A anchors.

    α_t is alpha at an anchor's class and 1 - alpha elsewhere; an IGNORED_ANCHOR has loss and gradient 0.
    (1 - p_t)^γ is computed by logarithms, since p_t reaches 1 in float32; -log(1 - p_t) is the cross-entropy
    plus the margin, so that one exponential and one logarithm do for both.

    `weights` multiply all K terms of an anchor. Where an anchor's `class_targets` y is below 1, the term of
    its class is α |y - p|^γ cross-entropy(p, y), least at p = y; at y = 1 that is the usual term.

    Paper: detection follows RetinaNet; γ = 1.5 is from the authors' configuration.
    Differs: weights and soft targets are ours, for pseudo boxes.
    Reference: the soft term is that of Li et al., "Generalized focal loss", 2020, with α.
    """
    num_outputs = logits.shape[-1] // classes.shape[-1]
    to_channels = partial(repeat_for_channels, num_outputs=num_outputs)
    class_ = np.arange(logits.shape[-1]) % num_outputs
    channel_class = to_channels(classes)
    is_target = channel_class == class_
    margin = jnp.where(is_target, logits, -logits)  # p_t = sigmoid(margin)
    cross_entropy = jnp.maximum(-margin, 0) + jnp.log1p(jnp.exp(-jnp.abs(margin)))
    modulator = jnp.exp(-gamma * (margin + cross_entropy))
    weighted = jnp.where(is_target, alpha, 1 - alpha) * modulator * cross_entropy
    if class_targets is not None:
        target = to_channels(class_targets)
        weighted = jnp.where(is_target & (target < 1), alpha * _soft_term(logits, target, gamma), weighted)
    if weights is not None:
        weighted *= to_channels(weights)
    return jnp.where(channel_class == IGNORED_ANCHOR, 0, weighted).sum(axis=-1)


def repeat_for_channels(values: Shaped[Array, "*n A"], num_outputs: int) -> Shaped[Array, "*n AK"]:
    """Repeat each anchor's value for its channels; they lie side by side, K for each anchor in turn.

    On a TPU by selecting: it would copy and pad an array [.., A, K].
    """
    return choose_by_platform(
        values,
        tpu=partial(select_for_channels, num_outputs=num_outputs),
        default=partial(jnp.repeat, repeats=num_outputs, axis=-1),
    )


def select_for_channels(values: Shaped[Array, "*n A"], num_outputs: int) -> Shaped[Array, "*n AK"]:
    """Do the same by selecting among broadcast columns."""
    num_anchors = values.shape[-1]
    of_channel = np.arange(num_anchors * num_outputs) // num_outputs
    of_anchor = [of_channel == index for index in range(num_anchors)]
    return jnp.select(of_anchor, jnp.split(values, num_anchors, axis=-1))


def _soft_term(logits: Float[Array, "*n"], target: Float[Array, "*n"], gamma: float) -> Float[Array, "*n"]:
    """Return |y - p|^γ cross-entropy(p, y)."""
    distance = jnp.maximum(jnp.abs(target - jax.nn.sigmoid(logits)), MIN_DISTANCE)
    return distance**gamma * (jax.nn.softplus(logits) - target * logits)


def box_loss(
    outputs: Float[Array, "*n C"],
    targets: Float[Array, "*n C"],
    weights: Float[Array, "*n A"] | None = None,
    *,
    delta: float = 0.1,
) -> Float[Array, "*n"]:
    """Sum Huber(output - target) over a location's coordinates whose target is not exactly 0.

    Huber(e) = e²/2 up to |e| = delta, then delta·|e| - delta²/2. The targets of anchors that are not positive
    are 0. A coordinate of a positive anchor that is exactly 0 is left out too, as in the authors' code.
    `weights` multiply the C / A coordinates of each of a location's A anchors.
    """
    error = jnp.abs(outputs - targets)
    huber = jnp.where(error <= delta, 0.5 * error**2, delta * error - 0.5 * delta**2)
    if weights is not None:
        huber *= jnp.repeat(weights, targets.shape[-1] // weights.shape[-1], axis=-1)
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
    """Sum focal and box loss in float32 over each image, level by level, finest first like the targets.

    To save memory, the logits of all levels are never in one array, and rematerialisation keeps only the
    network's outputs for the backward pass, which recomputes the loss.
    """

    @jax.checkpoint
    def level_losses(
        logits: Float[Array, "B h w AK"],
        outputs: Float[Array, "B h w A4"],
        *targets: Array | None,
    ) -> ImageLosses:
        cells = logits.shape[:3]
        classes, boxes, box_weight, class_weight, class_target = jax.tree.map(
            lambda x: x.reshape(*cells, -1), targets
        )
        logits, outputs = logits.astype(jnp.float32), outputs.astype(jnp.float32)
        class_losses = focal_loss(logits, classes, class_weight, class_target, alpha=alpha, gamma=gamma)
        box_losses = box_loss(outputs, boxes, box_weight, delta=delta)
        return ImageLosses(class_losses.sum(axis=(1, 2)), box_losses.sum(axis=(1, 2)))

    ends = np.cumsum([x[0].size // 4 for x in outputs.values()])
    weights = (targets.box_weight, targets.class_weight, targets.class_target)
    level_targets = (
        [None] * len(ends) if array is None else jnp.split(array, ends[:-1], axis=1)
        for array in (targets.classes, targets.boxes, *weights)
    )
    levels = zip(logits.values(), outputs.values(), *level_targets, strict=True)
    classes, boxes = zip(*(level_losses(*level) for level in levels), strict=True)
    return ImageLosses(sum(classes), sum(boxes))


def source_losses(
    losses: ImageLosses, num_positives: Float[Array, " B"], in_source: Bool[Array, " B"]
) -> SourceLoss:
    """Divide the sums over one source's images by N = the source's positive anchors + 1 (boxes: 4·N).

    A box whose weight is below 1 counts in N as others do, so that it changes nothing for them.

    Paper: appendix B needs separate losses; that each is over its own images is our reading.
    Differs: N is that of the whole batch; the authors' TPU code had one for each core's part.
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
