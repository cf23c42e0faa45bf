"""Convolution and batch normalisation as every network here uses them; start at `Conv` and `norm`."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from selftrain_jax.errors import InputError
from selftrain_jax.models.batch_norm import BatchNorm
from selftrain_jax.models.convolution import convolve
from selftrain_jax.models.depthwise import Pads, depthwise_convolve

Padding = Literal["fixed", "same"]
PADDINGS = get_args(Padding)

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"relu": nn.relu, "relu6": nn.relu6, "swish": nn.swish}
DTYPES = ["bfloat16", "float32"]


@dataclass(frozen=True)
class LayerStyle:
    """What all layers of a network share."""

    activation: str = "relu"
    bn_momentum: float = 0.997  # fraction of the running average that is kept
    bn_epsilon: float = 1e-4
    dtype: str = "float32"  # of the computation; variables stay float32

    def __post_init__(self) -> None:
        """Refuse names that mean nothing here."""
        for key, known in (("activation", sorted(ACTIVATIONS)), ("dtype", DTYPES)):
            if (found := getattr(self, key)) not in known:
                raise InputError(f"The model's {key} is {found!r}; use one of {', '.join(known)}.")

    def activate(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Apply the activation."""
        return ACTIVATIONS[self.activation](x)


def padding_px(size_px: int, kernel_px: int, stride: int, padding: Padding) -> tuple[int, int]:
    """Return the zeros before and after one axis.

    "fixed" depends on the kernel alone, (k - 1) // 2 before and the rest after, so that a stride of 2
    keeps the grid centred; "same" is TensorFlow's, which puts the odd zero after and looks at the size.
    """
    total = kernel_px - 1
    if padding == "same":
        total = max((-(-size_px // stride) - 1) * stride + kernel_px - size_px, 0)
    return total // 2, total - total // 2


def pads_of(x: Float[Array, "B h w C"], kernel_px: int, stride: int, padding: Padding) -> Pads:
    """Return the zeros around rows and around columns."""
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
        pads = pads_of(x, self.kernel_px, self.stride, self.padding)
        y = convolve(x.astype(self.style.dtype), kernel, self.stride, pads)
        if self.use_bias:  # in float32, and so is its gradient
            y = (y + self.param("bias", self.bias_init, (self.features,))).astype(self.style.dtype)
        return y


class DepthwiseConv(nn.Module):
    """A k×k convolution of each channel for itself; `kernel` is (k, k, 1, C)."""

    kernel_px: int
    style: LayerStyle
    stride: int = 1
    padding: Padding = "same"
    kernel_init: Callable[..., Array] = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B h2 w2 C"]:
        """Convolve in the style's dtype."""
        shape = (self.kernel_px, self.kernel_px, 1, x.shape[-1])
        kernel = self.param("kernel", self.kernel_init, shape)
        pads = pads_of(x, self.kernel_px, self.stride, self.padding)
        return depthwise_convolve(x.astype(self.style.dtype), kernel, self.stride, pads)


class SeparableConv(nn.Module):
    """A depthwise convolution without bias, then a 1×1 convolution with one."""

    features: int
    kernel_px: int
    style: LayerStyle
    stride: int = 1
    padding: Padding = "same"
    depthwise_init: Callable[..., Array] = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")
    pointwise_init: Callable[..., Array] = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")
    bias_init: Callable[..., Array] = nn.initializers.zeros_init()

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B h2 w2 C2"]:
        """Convolve in the style's dtype."""
        x = DepthwiseConv(
            self.kernel_px, self.style, self.stride, self.padding, self.depthwise_init, name="depthwise"
        )(x)
        pointwise = Conv(
            self.features,
            1,
            self.style,
            use_bias=True,
            kernel_init=self.pointwise_init,
            bias_init=self.bias_init,
            name="pointwise",
        )
        return pointwise(x)


def drop_connect(x: Float[Array, "B h w C"], survival: float, rng: Key[Array, ""]) -> Float[Array, "B h w C"]:
    """Zero each sample's branch with probability 1 - survival; divide the survivors by `survival`."""
    kept = jax.random.bernoulli(rng, survival, (x.shape[0], 1, 1, 1))
    return jnp.where(kept, x / survival, 0)


def norm(style: LayerStyle, *, train: bool, name: str, zero_init: bool = False) -> Callable[[Array], Array]:
    """Make a batch normalisation; under `jax.jit` with a sharded batch its moments are global.

    Paper: section 3.2 (synchronous batch normalisation). Variances are of the population.
    """
    scale_init = nn.initializers.zeros_init() if zero_init else nn.initializers.ones_init()
    module = BatchNorm(style.bn_momentum, style.bn_epsilon, style.dtype, scale_init, name=name)
    return partial(module, train=train)
