"""RetinaNet as the three pure functions of a `Task`; call `make_detection_task`."""

from collections.abc import Sequence
from functools import partial
from typing import cast

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from selftrain_jax.detection import boxes as box_ops
from selftrain_jax.detection.anchors import make_anchors
from selftrain_jax.detection.losses import SourceLoss, image_losses, source_losses
from selftrain_jax.detection.matching import match_anchors
from selftrain_jax.detection.postprocess import DEFAULT_POSTPROCESS, Postprocess, select_detections
from selftrain_jax.errors import InputError
from selftrain_jax.models.input_padding import pad_images, padded_size
from selftrain_jax.models.pooled_features import pooled_features
from selftrain_jax.models.retinanet import RetinaNet
from selftrain_jax.types import (
    Batch,
    BoxTargets,
    DenseBoxes,
    Detections,
    FittedImages,
    LossTerms,
    Task,
    Variables,
)


def make_detection_task(
    *,
    model: RetinaNet,
    image_size_px: int,
    anchor_size: float = 4.0,
    num_scales: int = 3,
    aspect_ratios: Sequence[float] = (1.0, 2.0, 0.5),
    focal_alpha: float = 0.25,
    focal_gamma: float = 1.5,
    huber_delta: float = 0.1,
    box_weight: float = 50.0,
    postprocess: Postprocess = DEFAULT_POSTPROCESS,
) -> Task:
    """Make init, loss and predict for a model, its anchors and the constants of the loss.

    The loss of a source is class loss + box_weight · box loss, without weight decay. Its `rng` is used for
    drop-connect only. The network sees images padded to a multiple of its coarsest stride, 2^max_level, and
    has anchors there too. `predict` takes square images of any size and clips boxes to it.

    Raises:
        InputError: the image size is below 1, or the model has another number of anchors.
    """
    _check_num_anchors(model.num_anchors, num_scales, aspect_ratios)
    stride_px = 2**model.max_level
    input_px = padded_size(image_size_px, stride_px)
    anchors_of = partial(
        make_anchors,
        min_level=model.min_level,
        max_level=model.max_level,
        num_scales=num_scales,
        aspect_ratios=aspect_ratios,
        anchor_size=anchor_size,
    )
    anchors = anchors_of(image_size_px=input_px)

    def init(rng: PRNGKeyArray) -> Variables:
        return dict(model.init(rng, jnp.zeros((1, input_px, input_px, 3)), train=False))

    def loss(variables: Variables, batch: Batch, rng: PRNGKeyArray) -> tuple[LossTerms, Variables]:
        (logits, outputs), updates = model.apply(
            variables,
            pad_images(batch.images, stride_px),
            train=True,
            mutable=["batch_stats"],
            rngs={"drop": rng},
            method="per_level",
        )
        targets = match_anchors(jnp.asarray(anchors), cast(BoxTargets, batch.targets))
        losses = image_losses(
            logits, outputs, targets, alpha=focal_alpha, gamma=focal_gamma, delta=huber_delta
        )
        human, pseudo = (
            source_losses(losses, targets.num_positives, mask) for mask in (~batch.is_pseudo, batch.is_pseudo)
        )
        return loss_terms(human, pseudo, box_weight), dict(updates)

    def dense(variables: Variables, images: Float[Array, "B H W 3"]) -> DenseBoxes:
        padded, size_px = pad_images(images, stride_px), images.shape[1]
        logits, outputs = cast(tuple[Array, Array], model.apply(variables, padded, train=False))
        anchors = jnp.asarray(anchors_of(image_size_px=padded.shape[1]))
        return DenseBoxes(box_ops.clip(box_ops.decode(outputs, anchors), size_px), logits)

    def predict(variables: Variables, images: Float[Array, "B H W 3"]) -> Detections:
        return select_detections(*dense(variables, images), postprocess)

    def features(variables: Variables, inputs: FittedImages) -> Float[Array, "B C"]:
        return pooled_features(model, variables, inputs, stride_px)

    return Task(init=init, loss=loss, predict=predict, features=features, dense=dense)


def _check_num_anchors(num_anchors: int, num_scales: int, aspect_ratios: Sequence[float]) -> None:
    """Refuse a model whose heads have another number of anchors."""
    expected = num_scales * len(aspect_ratios)
    if num_anchors != expected:
        raise InputError(
            f"The model has num_anchors={num_anchors} at each location, but {num_scales} scales and "
            f"{len(aspect_ratios)} aspect ratios make {expected}. Set num_anchors={expected}."
        )


def loss_terms(human: SourceLoss, pseudo: SourceLoss, box_weight: float) -> LossTerms:
    """Add up the losses of each source and collect the metrics."""
    metrics: dict[str, Array] = {}
    for name, source in (("human", human), ("pseudo", pseudo)):
        metrics[f"train/class_loss_{name}"] = source.classes
        metrics[f"train/box_loss_{name}"] = source.boxes
        metrics[f"train/num_positives_{name}"] = source.num_positives
    return LossTerms(
        human=human.classes + box_weight * human.boxes,
        pseudo=pseudo.classes + box_weight * pseudo.boxes,
        num_human=human.num_images,
        num_pseudo=pseudo.num_images,
        metrics=metrics,
    )
