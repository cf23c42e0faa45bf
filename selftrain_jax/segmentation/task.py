"""Semantic segmentation as the four pure functions of a `Task`; call `make_segmentation_task`."""

from typing import cast

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from selftrain_jax.errors import InputError
from selftrain_jax.models.segmenter import Segmenter
from selftrain_jax.segmentation.losses import RESOLUTIONS, mean_over, pixel_hits, pixel_losses, source_loss
from selftrain_jax.types import (
    IGNORED,
    SIZE_STEP_PX,
    Batch,
    LossTerms,
    MaskTargets,
    PixelLogits,
    Task,
    Variables,
)


def make_segmentation_task(*, model: Segmenter, image_size_px: int, loss_resolution: str = "stride4") -> Task:
    """Close init, loss and predict over a model and where its loss is taken.

    The loss of a source is the mean cross-entropy of its pixels that count, without weight decay. Its key
    decides only which branches the network drops.

    Raises:
        InputError: the image size is no multiple of 32, there is no such resolution, or a class has the
            value of the pixels that do not count.
    """
    check_settings(model.num_classes, image_size_px, loss_resolution)

    def init(rng: PRNGKeyArray) -> Variables:
        return dict(model.init(rng, jnp.zeros((1, image_size_px, image_size_px, 3)), train=False))

    def loss(variables: Variables, batch: Batch, rng: PRNGKeyArray) -> tuple[LossTerms, Variables]:
        logits, updates = model.apply(
            variables, batch.images, train=True, mutable=["batch_stats"], rngs={"drop": rng}
        )
        return loss_terms(logits, batch, loss_resolution), dict(updates)

    def predict(variables: Variables, images: Float[Array, "B H W 3"]) -> PixelLogits:
        return PixelLogits(cast(Array, model.apply(variables, images, train=False)))

    return Task(init=init, loss=loss, predict=predict)


def check_settings(num_classes: int, image_size_px: int, loss_resolution: str) -> None:
    """Refuse what no segmentation task can be made of.

    Raises:
        InputError: saying what would do.
    """
    if image_size_px < SIZE_STEP_PX or image_size_px % SIZE_STEP_PX:
        below = max(image_size_px // SIZE_STEP_PX, 1) * SIZE_STEP_PX
        raise InputError(
            f"image_size_px is {image_size_px}, but the network halves an image five times and needs a "
            f"multiple of {SIZE_STEP_PX}. Use {below} or {below + SIZE_STEP_PX}."
        )
    if loss_resolution not in RESOLUTIONS:
        raise InputError(f"loss_resolution is {loss_resolution!r}; use one of {', '.join(RESOLUTIONS)}.")
    if num_classes > IGNORED:
        raise InputError(
            f"The model has num_classes={num_classes}, but a mask's value {IGNORED} says that a pixel counts "
            f"for nothing. Use at most {IGNORED} classes, with ids 0 to {IGNORED - 1}."
        )


def loss_terms(logits: Float[Array, "B h w K"], batch: Batch, loss_resolution: str) -> LossTerms:
    """Average each source's losses over its pixels and name what is logged.

    An image without a pixel that counts is of no source, so that a half of a batch that has none drops
    out of the loss normalisation.
    """
    masks = cast(MaskTargets, batch.targets).masks
    losses, valid = pixel_losses(logits, masks, loss_resolution)
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
    """Return each source's accuracy and its share of pixels that count (padding does not), at stride 4."""
    hits, valid = pixel_hits(logits, cast(MaskTargets, batch.targets).masks)
    metrics = {}
    for name, is_source in (("human", ~batch.is_pseudo), ("pseudo", batch.is_pseudo)):
        in_source: Bool[Array, "B h w"] = jnp.broadcast_to(is_source[:, None, None], valid.shape)
        metrics[f"train/pixel_accuracy_{name}"] = mean_over(hits, valid & in_source)
        metrics[f"train/valid_pixels_{name}"] = mean_over(valid.astype(jnp.float32), in_source)
    return metrics
