"""Cross-entropy over labelled pixels, for human and pseudo labels separately; call `pixel_losses`."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt8

from selftrain_jax.models.layers import upsample_bilinear
from selftrain_jax.models.segmenter import STRIDE_PX
from selftrain_jax.types import IGNORED

RESOLUTIONS = ("stride4", "full")
"""Where the loss is computed: at every 4th pixel, where the logits are, or at every pixel."""


class SourceLoss(NamedTuple):
    """The loss over the labelled pixels of one source; 0 if there are none."""

    loss: Float[Array, ""]
    num_pixels: Float[Array, ""]  # labelled ones
    num_images: Float[Array, ""]  # with a labelled pixel


def pixel_losses(
    logits: Float[Array, "B h w K"],
    masks: UInt8[Array, "B H W"],
    resolution: str,
    soft: UInt8[Array, "B H W 4"] | None = None,
    class_weights: Float[Array, "B K"] | None = None,
    weight: UInt8[Array, "B H W 1"] | None = None,
) -> tuple[Float[Array, "B h2 w2"], Bool[Array, "B h2 w2"]]:
    """Return -log softmax(logits) for each pixel's class (0 where IGNORED), and which pixels are labelled.

    With `class_weights` it is times the weight of that class in that image.

    With `soft` (`types.MaskTargets`) it is the cross entropy -sum_k t_k log softmax(logits)_k (with
    weights, each term times its own), where t has the shares of up to three classes. Without shares for
    further classes that is the same.
    `weight`, in 255ths, is what each pixel's loss is multiplied by.
    "stride4" uses rows and columns 0, 4, 8, ... of the masks; "full" interpolates the logits bilinearly.
    A class that the logits do not have gives NaN, which stops the training.

    Paper: does not say. "stride4" is the authors' configuration, in which a bilinear resize of the masks by
    a factor of 4 picks every 4th pixel.
    """
    assert resolution in RESOLUTIONS, resolution
    if resolution == "full":
        logits = upsample_bilinear(logits, STRIDE_PX)[:, : masks.shape[1], : masks.shape[2]]
    else:
        masks, soft, weight = jax.tree.map(at_stride, (masks, soft, weight))
    assert logits.shape[:3] == masks.shape, f"logits {logits.shape}, masks {masks.shape}"
    num_classes = logits.shape[-1]
    is_class = masks[..., None] == jnp.arange(num_classes)
    log_probability = jax.nn.log_softmax(logits)
    if class_weights is not None:
        log_probability = log_probability * class_weights[:, None, None, :]
    if soft is None:
        entropy = -jnp.where(is_class, log_probability, 0.0).sum(axis=-1)
    else:
        entropy = -(_shares(masks, soft, num_classes) * log_probability).sum(axis=-1)
    if weight is not None:
        entropy = entropy * (weight[..., 0] / jnp.float32(255))
    valid = masks != IGNORED
    return jnp.where(valid, jnp.where(masks < num_classes, entropy, jnp.nan), 0.0), valid


def _shares(
    masks: UInt8[Array, "B h w"], soft: UInt8[Array, "B h w 4"], num_classes: int
) -> Float[Array, "B h w K"]:
    """Return each class's share of a pixel's target; they add up to 1."""
    more = soft[..., 1::2] / jnp.float32(255)
    shares = jnp.concatenate([1 - more.sum(axis=-1, keepdims=True), more], axis=-1)
    classes = jnp.concatenate([masks[..., None], soft[..., 0::2]], axis=-1)
    is_class = classes[..., None] == jnp.arange(num_classes)
    return jnp.where(is_class, shares[..., None], 0.0).sum(axis=-2)


def source_loss(
    losses: Float[Array, "B h w"], valid: Bool[Array, "B h w"], is_source: Bool[Array, " B"]
) -> SourceLoss:
    """Average the losses over the labelled pixels of one source's images.

    Paper: appendix B needs separate losses; that each is over its own pixels is our reading.
    Differs: without labelled pixels the loss and its gradient are 0; the authors' code divides 0 by 0.
    The average is over the whole batch; their TPU code took one for each core's part.
    """
    chosen = valid & is_source[:, None, None]
    num_by_image = jnp.sum(chosen, axis=(1, 2), dtype=jnp.int32)  # float32 counts only up to 2^24
    return SourceLoss(
        loss=mean_over(losses, chosen),
        num_pixels=num_by_image.sum().astype(jnp.float32),
        num_images=jnp.sum(num_by_image > 0).astype(jnp.float32),
    )


def pixel_hits(
    logits: Float[Array, "B h w K"], masks: UInt8[Array, "B H W"]
) -> tuple[Float[Array, "B h w"], Bool[Array, "B h w"]]:
    """Mark with 1 the pixels at stride 4 that are classified correctly; also return which are labelled."""
    masks = at_stride(masks)
    return (jnp.argmax(logits, axis=-1) == masks).astype(jnp.float32), masks != IGNORED


def at_stride(masks: UInt8[Array, "B H W *V"]) -> UInt8[Array, "B h w *V"]:
    """Return rows and columns 0, 4, 8, ..., the pixels of the logits' cells."""
    return masks[:, ::STRIDE_PX, ::STRIDE_PX]


def mean_over(values: Float[Array, "B h w"], chosen: Bool[Array, "B h w"]) -> Float[Array, ""]:
    """Average the chosen values; 0 if there are none. The others may be anything, even NaN."""
    num_chosen = jnp.maximum(jnp.sum(chosen, dtype=jnp.int32), 1)
    total_by_image = jnp.where(chosen, values, 0.0).sum(axis=(1, 2))
    return jnp.sum(total_by_image / num_chosen)  # by image: float32 loses small terms in long sums
