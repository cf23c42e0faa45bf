"""Cross-entropy with smoothed labels, what "ImageNet Init" is trained with; call `cross_entropy`."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


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
