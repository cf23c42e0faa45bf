"""Semantic segmentation as the three pure functions of a `Task`; call `make_segmentation_task`."""

from typing import cast

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from selftrain_jax.errors import InputError
from selftrain_jax.models.input_padding import pad_images, padded_size
from selftrain_jax.models.pooled_features import pooled_features
from selftrain_jax.models.segmenter import STRIDE_PX, Segmenter
from selftrain_jax.segmentation.losses import RESOLUTIONS, mean_over, pixel_hits, pixel_losses, source_loss
from selftrain_jax.types import (
    IGNORED,
    SIZE_STEP_PX,
    Batch,
    FittedImages,
    LossTerms,
    MaskTargets,
    PixelLogits,
    Task,
    Variables,
)


def make_segmentation_task(
    *,
    model: Segmenter,
    image_size_px: int,
    loss_resolution: str = "stride4",
    class_weights: Float[np.ndarray, " K"] | None = None,
) -> Task:
    """Make init, loss and predict for a model and the resolution of the loss.

    The loss of a source is the mean cross-entropy of its labelled pixels, without weight decay; with
    `class_weights` each human pixel counts times its class's, and the mean is still over their number. Pseudo
    labels count once: a teacher that was trained with weights says the rare classes more often already.
    Its `rng` is used for drop-connect only. The network sees images padded to a multiple of 32, as it halves
    them five times; its logits are cropped to the image again.

    Raises:
        InputError: the image size is below 1, the resolution is unknown, or a class has the value of ignored
            pixels.
    """
    _check_settings(model.num_classes, loss_resolution)
    input_px = padded_size(image_size_px, SIZE_STEP_PX)

    def init(rng: PRNGKeyArray) -> Variables:
        return dict(model.init(rng, jnp.zeros((1, input_px, input_px, 3)), train=False))

    def loss(variables: Variables, batch: Batch, rng: PRNGKeyArray) -> tuple[LossTerms, Variables]:
        images = pad_images(batch.images, SIZE_STEP_PX)
        logits, updates = model.apply(
            variables, images, train=True, mutable=["batch_stats"], rngs={"drop": rng}
        )
        terms = loss_terms(crop_logits(logits, batch.images), batch, loss_resolution, class_weights)
        return terms, dict(updates)

    def predict(variables: Variables, images: Float[Array, "B H W 3"]) -> PixelLogits:
        logits = model.apply(variables, pad_images(images, SIZE_STEP_PX), train=False)
        return PixelLogits(crop_logits(cast(Array, logits), images))

    def features(variables: Variables, inputs: FittedImages) -> Float[Array, "B C"]:
        return pooled_features(model, variables, inputs, SIZE_STEP_PX)

    return Task(init=init, loss=loss, predict=predict, features=features)


def crop_logits(
    logits: Float[Array, "B h2 w2 K"], images: Float[Array, "B H W 3"]
) -> Float[Array, "B h w K"]:
    """Keep the cells of the images before they were padded, ceil(H / 4) × ceil(W / 4)."""
    height, width = (-(-size_px // STRIDE_PX) for size_px in images.shape[1:3])
    is_whole = logits.shape[1:3] == (height, width)
    return logits if is_whole else logits[:, :height, :width]


def _check_settings(num_classes: int, loss_resolution: str) -> None:
    """Refuse settings that no segmentation task can have."""
    if loss_resolution not in RESOLUTIONS:
        raise InputError(f"loss_resolution is {loss_resolution!r}; use one of {', '.join(RESOLUTIONS)}.")
    if num_classes > IGNORED:
        raise InputError(
            f"The model has num_classes={num_classes}, but the mask value {IGNORED} marks ignored pixels. "
            f"Use at most {IGNORED} classes, with ids 0 to {IGNORED - 1}."
        )


def loss_terms(
    logits: Float[Array, "B h w K"],
    batch: Batch,
    loss_resolution: str,
    class_weights: Float[np.ndarray, " K"] | None = None,
) -> LossTerms:
    """Average each source's losses over its pixels and collect the metrics.

    An image without labelled pixels is counted for neither source, so that the loss normalisation leaves out
    a half of a batch without any.
    """
    masks, soft, weight = cast(MaskTargets, batch.targets)
    weights = None
    if class_weights is not None:
        weights = jnp.where(batch.is_pseudo[:, None], 1.0, jnp.asarray(class_weights))
    losses, valid = pixel_losses(logits, masks, loss_resolution, soft, weights, weight)
    human = source_loss(losses, valid, ~batch.is_pseudo)
    pseudo = source_loss(losses, valid, batch.is_pseudo)
    return LossTerms(
        human=human.loss,
        pseudo=pseudo.loss,
        num_human=human.num_images,
        num_pseudo=pseudo.num_images,
        metrics=pixel_metrics(logits, batch),
    )


def pixel_metrics(logits: Float[Array, "B h w K"], batch: Batch) -> dict[str, Float[Array, ""]]:
    """Return each source's accuracy and share of labelled pixels (padding is not labelled), at stride 4."""
    hits, valid = pixel_hits(logits, cast(MaskTargets, batch.targets).masks)
    metrics = {}
    for name, is_source in (("human", ~batch.is_pseudo), ("pseudo", batch.is_pseudo)):
        in_source: Bool[Array, "B h w"] = jnp.broadcast_to(is_source[:, None, None], valid.shape)
        metrics[f"train/pixel_accuracy_{name}"] = mean_over(hits, valid & in_source)
        metrics[f"train/valid_pixels_{name}"] = mean_over(valid.astype(jnp.float32), in_source)
    return metrics
