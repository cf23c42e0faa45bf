"""The layers that all networks share, from `Conv` and `norm` to the resizing of feature maps."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key

from selftrain_jax.errors import InputError
from selftrain_jax.models.batch_norm import BatchNorm
from selftrain_jax.models.convolution import convolve
from selftrain_jax.models.depthwise import depthwise_convolve
from selftrain_jax.models.native_convolution import Pads
from selftrain_jax.models.platforms import choose_by_platform

Padding = Literal["fixed", "same"]
PADDINGS = get_args(Padding)

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"relu": nn.relu, "relu6": nn.relu6, "swish": nn.swish}
DTYPES = ["bfloat16", "float32"]


@dataclass(frozen=True)
class LayerStyle:
    """The settings that all layers of a network share."""

    activation: str = "relu"
    bn_momentum: float = 0.997  # share of the running average that is kept
    bn_epsilon: float = 1e-4
    dtype: str = "float32"  # of the computation; variables stay float32

    def __post_init__(self) -> None:
        """Refuse an unknown activation or dtype."""
        for key, known in (("activation", sorted(ACTIVATIONS)), ("dtype", DTYPES)):
            if (value := getattr(self, key)) not in known:
                raise InputError(f"The model's {key} is {value!r}; use one of {', '.join(known)}.")

    def activate(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Apply the activation."""
        return ACTIVATIONS[self.activation](x)

    def activate_sum(self, a: Float[Array, "*n"], b: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """Apply the activation to a + b, where a shortcut and a branch join."""
        return relu_of_sum(a, b) if self.activation == "relu" else self.activate(a + b)


def padding_px(size_px: int, kernel_px: int, stride: int, padding: Padding) -> tuple[int, int]:
    """Return the zeros before and after one axis.

    "fixed" depends on the kernel only: (k - 1) // 2 before and the rest after, so that a stride of 2 keeps
    the grid centred. "same" is TensorFlow's: it depends on the size too and puts an odd zero after.
    """
    total = kernel_px - 1
    if padding == "same":
        total = max((-(-size_px // stride) - 1) * stride + kernel_px - size_px, 0)
    return total // 2, total - total // 2


def spatial_padding(x: Float[Array, "B h w C"], kernel_px: int, stride: int, padding: Padding) -> Pads:
    """Return the zeros around the rows and around the columns."""
    rows, columns = (padding_px(size, kernel_px, stride, padding) for size in x.shape[1:3])
    return rows, columns


class Conv(nn.Module):
    """2-D convolution with an HWIO `kernel` and an optional `bias`."""

    features: int
    kernel_px: int
    style: LayerStyle
    stride: int = 1
    padding: Padding = "same"
    use_bias: bool = False
    kernel_init: Callable[..., Array] = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")
    bias_init: Callable[..., Array] = nn.initializers.zeros_init()

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B h2 w2 C2"]:
        """Convolve in the style's dtype."""
        shape = (self.kernel_px, self.kernel_px, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        pads = spatial_padding(x, self.kernel_px, self.stride, self.padding)
        y = convolve(x.astype(self.style.dtype), kernel, self.stride, pads)
        if self.use_bias:  # added in float32, so that its gradient is float32
            y = (y + self.param("bias", self.bias_init, (self.features,))).astype(self.style.dtype)
        return y


class DepthwiseConv(nn.Module):
    """A k×k convolution of each channel on its own, by `kernel` (k, k, 1, C), and an optional `bias`."""

    kernel_px: int
    style: LayerStyle
    stride: int = 1
    kernel_init: Callable[..., Array] = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")
    use_bias: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B h2 w2 C"]:
        """Convolve in the style's dtype."""
        shape = (self.kernel_px, self.kernel_px, 1, x.shape[-1])
        kernel = self.param("kernel", self.kernel_init, shape)
        pads = spatial_padding(x, self.kernel_px, self.stride, "same")
        y = depthwise_convolve(x.astype(self.style.dtype), kernel, self.stride, pads)
        if self.use_bias:
            y = (y + self.param("bias", nn.initializers.zeros_init(), x.shape[-1:])).astype(self.style.dtype)
        return y


class SeparableConv(nn.Module):
    """A depthwise convolution without bias, then a 1×1 convolution with one."""

    features: int
    kernel_px: int
    style: LayerStyle
    kernel_init: Callable[..., Array] = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")
    bias_init: Callable[..., Array] = nn.initializers.zeros_init()

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B h2 w2 C2"]:
        """Convolve in the style's dtype."""
        x = DepthwiseConv(self.kernel_px, self.style, kernel_init=self.kernel_init, name="depthwise")(x)
        pointwise = Conv(
            self.features,
            1,
            self.style,
            use_bias=True,
            kernel_init=self.kernel_init,
            bias_init=self.bias_init,
            name="pointwise",
        )
        return pointwise(x)


@jax.custom_vjp
def relu_of_sum(a: Float[Array, "*n"], b: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Return max(a + b, 0); for the gradient it keeps the result, which the next layer keeps anyway.

    Autodiff's gradient would add a and b again: two reads of large arrays in place of one. On CUDA a barrier
    keeps XLA from doing the same.
    """
    return jnp.maximum(a + b, 0)


def _relu_of_sum_forward(a: Array, b: Array) -> tuple[Array, Array]:
    y = relu_of_sum(a, b)
    return y, y


def _relu_of_sum_backward(y: Array, gradient: Array) -> tuple[Array, Array]:
    kept = choose_by_platform(y, cuda=lax.optimization_barrier, default=lambda y: y)
    masked = jnp.where(kept > 0, gradient, 0)
    return masked, masked


relu_of_sum.defvjp(_relu_of_sum_forward, _relu_of_sum_backward)


def drop_connect(x: Float[Array, "B h w C"], survival: float, rng: Key[Array, ""]) -> Float[Array, "B h w C"]:
    """Zero each example's branch with probability 1 - survival; divide the others by `survival`."""
    kept = jax.random.bernoulli(rng, survival, (x.shape[0], 1, 1, 1))
    return jnp.where(kept, x / survival, 0)


def norm(style: LayerStyle, *, train: bool, name: str, zero_init: bool = False) -> Callable[[Array], Array]:
    """Make a batch normalisation; under `jax.jit` its moments are those of the whole sharded batch.

    Paper: section 3.2 (synchronous batch normalisation).
    """
    scale_init = nn.initializers.zeros_init() if zero_init else nn.initializers.ones_init()
    module = BatchNorm(style.bn_momentum, style.bn_epsilon, style.dtype, scale_init, name=name)
    return partial(module, train=train)


def resize_nearest(x: Float[Array, "B h w C"], height: int, width: int) -> Float[Array, "B h2 w2 C"]:
    """Copy input cell floor(i · in / out) to output cell i, along both axes; whole factors repeat cells."""
    for axis, size in ((1, height), (2, width)):
        old_size = x.shape[axis]
        if size == old_size:
            continue
        if size % old_size == 0:
            x = jnp.repeat(x, size // old_size, axis=axis)
        else:
            x = jnp.take(x, jnp.arange(size) * old_size // size, axis=axis)
    return x


def upsample_bilinear(x: Float[Array, "B h w C"], factor: int) -> Float[Array, "B h2 w2 C"]:
    """Interpolate at i / factor for output cell i, along both axes; the last cells repeat the edge.

    Every factor-th output cell equals an input cell, and upsampling by 2 twice is upsampling by 4.
    Differs: `jax.image.resize` puts the samples at the centres of cells, half a cell away.
    """
    for axis in (1, 2):
        size = x.shape[axis]
        edge, rest = (lax.slice_in_dim(x, start, size, axis=axis) for start in (size - 1, 1))
        step = jnp.concatenate([rest, edge], axis) - x
        shares = jnp.expand_dims(jnp.arange(factor, dtype=x.dtype) / factor, range(1, 4 - axis))
        between = jnp.expand_dims(x, axis + 1) + jnp.expand_dims(step, axis + 1) * shares
        x = between.reshape(*x.shape[:axis], size * factor, *x.shape[axis + 1 :])
    return x
