"""Batch normalisation with its gradient written out; the module is `BatchNorm`.

In training the moments are those of the whole batch, unless a loss is traced inside of `moments_of`, which
names the images that they come from, or `moments_frozen`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from selftrain_jax.models.platforms import choose_by_platform

Moments = tuple[Float[Array, " C"], Float[Array, " C"]]  # mean and population variance

ALL_BUT_CHANNELS = (0, 1, 2)
FROZEN = "frozen"

_chosen: ContextVar[Array | str | None] = ContextVar("chosen", default=None)


@contextmanager
def moments_of(images: Bool[Array, " B"]) -> Iterator[None]:
    """While a loss is traced inside, take the moments from these images of the batch; from all if it is none.

    The others are normalised with them.
    """
    token = _chosen.set(images | ~images.any())
    try:
        yield
    finally:
        _chosen.reset(token)


@contextmanager
def moments_frozen() -> Iterator[None]:
    """While a loss is traced inside, normalise by the running moments and leave them as they are."""
    token = _chosen.set(FROZEN)
    try:
        yield
    finally:
        _chosen.reset(token)


class BatchNorm(nn.Module):
    """Normalise each channel, with the variables and results of `flax.linen.BatchNorm`.

    For the gradient, autodiff would keep x - mean and x²; this keeps only x, which makes a training step of
    EfficientNet-Lite0 on CPU a tenth faster.
    """

    momentum: float  # share of the running average that is kept
    epsilon: float
    dtype: str
    scale_init: Callable[..., Array] = nn.initializers.ones_init()

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"], *, train: bool) -> Float[Array, "B h w C"]:
        """In training, use the batch's moments and update the running ones; else use the running ones.

        Which images of the batch count, or whether the running moments are kept, is set around the loss:
        `moments_of`, `moments_frozen`.
        """
        shape = x.shape[-1:]
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
        var = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32)
        scale = self.param("scale", self.scale_init, shape)
        bias = self.param("bias", nn.initializers.zeros_init(), shape)
        chosen = _chosen.get()
        if not train or chosen is FROZEN:
            inverse = lax.rsqrt(var.value + self.epsilon)
            return affine(x, mean.value, inverse * scale, bias).astype(self.dtype)
        y, (batch_mean, batch_var) = normalize(x.astype(self.dtype), scale, bias, chosen, self.epsilon)
        if not self.is_initializing():
            mean.value = self.momentum * mean.value + (1 - self.momentum) * batch_mean
            var.value = self.momentum * var.value + (1 - self.momentum) * batch_var
        return y


def affine(
    x: Float[Array, "B h w C"], mean: Float[Array, " C"], factor: Float[Array, " C"], bias: Float[Array, " C"]
) -> Float[Array, "B h w C"]:
    """Return (x - mean) · factor + bias in float32."""
    return (x.astype(jnp.float32) - mean) * factor + bias


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def normalize(
    x: Float[Array, "B h w C"],
    scale: Float[Array, " C"],
    bias: Float[Array, " C"],
    chosen: Bool[Array, " B"] | None,
    epsilon: float,
) -> tuple[Float[Array, "B h w C"], Moments]:
    """Normalise by the moments of the chosen images (None: of all), and return them.

    No gradient flows through the returned moments.
    """
    return _forward(x, scale, bias, chosen, epsilon)[0]


def _forward(
    x: Array, scale: Array, bias: Array, chosen: Array | None, epsilon: float
) -> tuple[Any, tuple[Any, ...]]:
    wide = x.astype(jnp.float32)
    mean = _mean(wide, chosen)
    var = jnp.maximum(_mean(wide * wide, chosen) - mean * mean, 0)
    inverse = lax.rsqrt(var + epsilon)
    y = affine(x, mean, inverse * scale, bias).astype(x.dtype)
    return (y, (mean, var)), ((x, mean, inverse, scale), chosen)


def _mean(wide: Array, chosen: Array | None) -> Array:
    if chosen is None:
        return wide.mean(ALL_BUT_CHANNELS)
    return _keep(wide, chosen).sum(ALL_BUT_CHANNELS) / _count(wide, chosen)


def _keep(values: Array, chosen: Array | None) -> Array:
    return values if chosen is None else jnp.where(chosen[:, None, None, None], values, 0)


def _count(x: Array, chosen: Array | None) -> Array | int:
    """Return how many values of a channel the moments come from."""
    num_images = x.shape[0] if chosen is None else chosen.sum()
    return num_images * x.shape[1] * x.shape[2]


def _backward(epsilon: float, saved: tuple[Any, ...], gradients: tuple[Array, Any]) -> tuple[Any, ...]:
    """With n = (x - mean) / deviation: dx = scale / deviation · (dy - mean(dy) - n · mean(dy · n)).

    The sum of dy · n is made of those of dy · x and dy: to sum dy · n, XLA's CPU first writes the n of all
    layers to memory. Like the variance, it loses digits where a mean is many deviations from 0.

    Where some images are chosen, the two means are sums over all images, divided by the number of values of
    the chosen ones, and are subtracted from those alone: only they move the moments.
    """
    values, chosen = saved
    (x, mean, inverse, scale), gradient = _without_sharing((values, gradients[0]))
    wide = gradient.astype(jnp.float32)
    grad_bias = wide.sum(ALL_BUT_CHANNELS)
    grad_scale = inverse * ((wide * x.astype(jnp.float32)).sum(ALL_BUT_CHANNELS) - mean * grad_bias)
    normal, count = affine(x, mean, inverse, jnp.zeros_like(mean)), _count(x, chosen)
    through_mean, through_var = grad_bias / count, normal * (grad_scale / count)
    grad_x = inverse * scale * (wide - _keep(through_mean, chosen) - _keep(through_var, chosen))
    return grad_x.astype(x.dtype), grad_scale, grad_bias, None


def _without_sharing(operands: Any) -> Any:
    """On CPU, keep XLA from reusing x - mean of the forward pass, which would then stay in memory."""
    return choose_by_platform(operands, cpu=lax.optimization_barrier, default=lambda same: same)


normalize.defvjp(_forward, _backward)
