"""Classification of whole images as the pure functions of a `Task`; call `make_classification_task`.

It makes "ImageNet Init" (paper section 3.3) and the second loss of joint training (Table 7).
"""

from typing import cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from selftrain_jax.classification.losses import cross_entropy, mean_over
from selftrain_jax.errors import InputError
from selftrain_jax.models.classifier import Classifier
from selftrain_jax.types import Batch, ClassScores, ClassTargets, LossTerms, Task, Variables


def make_classification_task(*, model: Classifier, image_size_px: int, label_smoothing: float = 0.1) -> Task:
    """Close init, loss and predict over a model.

    The loss of a source is the mean cross-entropy of its images that have a class, without weight decay.

    Raises:
        InputError: label_smoothing is outside [0, 1).
    """
    if not 0 <= label_smoothing < 1:
        raise InputError(f"label_smoothing is {label_smoothing:g}; expected 0 or more and less than 1")

    def init(rng: PRNGKeyArray) -> Variables:
        return dict(model.init(rng, jnp.zeros((1, image_size_px, image_size_px, 3)), train=False))

    def loss(variables: Variables, batch: Batch, rng: PRNGKeyArray) -> tuple[LossTerms, Variables]:
        logits, updates = model.apply(
            variables, batch.images, train=True, mutable=["batch_stats"], rngs={"drop": rng}
        )
        return loss_terms(logits, batch, label_smoothing), dict(updates)

    def predict(variables: Variables, images: Float[Array, "B H W 3"]) -> ClassScores:
        logits = cast(Array, model.apply(variables, images, train=False))
        return ClassScores(jax.nn.softmax(logits))

    return Task(init=init, loss=loss, predict=predict)


def loss_terms(logits: Float[Array, "B K"], batch: Batch, label_smoothing: float) -> LossTerms:
    """Average loss and hits over each source's images."""
    classes = cast(ClassTargets, batch.targets).classes
    losses = cross_entropy(logits, classes, label_smoothing)
    hits = (jnp.argmax(logits, axis=-1) == classes).astype(jnp.float32)
    is_human, is_pseudo = ~batch.is_pseudo & (classes >= 0), batch.is_pseudo & (classes >= 0)
    return LossTerms(
        human=mean_over(losses, is_human),
        pseudo=mean_over(losses, is_pseudo),
        num_human=jnp.sum(is_human).astype(jnp.float32),
        num_pseudo=jnp.sum(is_pseudo).astype(jnp.float32),
        metrics={
            "train/top1_human": mean_over(hits, is_human),
            "train/top1_pseudo": mean_over(hits, is_pseudo),
        },
    )
