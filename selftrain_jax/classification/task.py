"""Classification of whole images as the three pure functions of a `Task`; call `make_classification_task`.

It is the task of "ImageNet Init" (paper section 3.3), and the second loss of joint training (Table 7).
`count_hits` and `accuracy` evaluate it.
"""

from collections.abc import Iterable
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from selftrain_jax.errors import InputError
from selftrain_jax.models.classifier import Classifier
from selftrain_jax.types import Batch, ClassScores, ClassTargets, LossTerms, Task, Variables

TOP = (1, 5)


def make_classification_task(*, model: Classifier, image_size_px: int, label_smoothing: float = 0.1) -> Task:
    """Make init, loss and predict for a model.

    The loss of a source is the mean cross-entropy of its images that have a class, without weight decay. Its
    `rng` is used for drop-connect and dropout only.

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
    """Average losses and correct answers over each source's images."""
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


def cross_entropy(
    logits: Float[Array, "B K"], classes: Int[Array, " B"], label_smoothing: float
) -> Float[Array, " B"]:
    """Return -sum_k q_k log softmax(logits)_k with q = (1 - s) onehot + s / K; 0 where the class is -1."""
    num_classes = logits.shape[-1]
    targets = (1.0 - label_smoothing) * jax.nn.one_hot(classes, num_classes) + label_smoothing / num_classes
    losses = -jnp.sum(targets * jax.nn.log_softmax(logits), axis=-1)
    return jnp.where(classes >= 0, losses, 0.0)


def mean_over(values: Float[Array, " B"], chosen: Bool[Array, " B"]) -> Float[Array, ""]:
    """Average the chosen values; 0 if there are none."""
    weights = chosen.astype(jnp.float32)
    return jnp.sum(values * weights) / jnp.maximum(jnp.sum(weights), 1.0)


def count_hits(scores: Float[np.ndarray, "B K"], classes: Int[np.ndarray, " B"]) -> Int[np.ndarray, " 3"]:
    """Count the images whose class has the best score, one of the best five, and all images with a class.

    Class -1 stands for none. Other classes of equal score count as better: equal scores for all give 0 hits.
    """
    is_known = classes >= 0
    true_score = np.take_along_axis(scores, np.maximum(classes, 0)[:, None], axis=1)
    num_better = (scores >= true_score).sum(axis=1) - 1
    hits = [int((is_known & (num_better < top)).sum()) for top in TOP]
    return np.array([*hits, int(is_known.sum())])


def accuracy(counts: Iterable[Int[np.ndarray, " 3"]]) -> dict[str, float]:
    """Return top1, top5 (shares) and num_images over all batches."""
    *hits, num_images = np.sum(list(counts), axis=0)
    shares = {f"top{top}": float(hit) / max(int(num_images), 1) for top, hit in zip(TOP, hits, strict=True)}
    return {**shares, "num_images": int(num_images)}
