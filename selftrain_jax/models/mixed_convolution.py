"""Convolution in bfloat16 whose kernel and its gradient are float32; call `convolve_mixed()`.

Autodiff would give a kernel that is cast to bfloat16 a bfloat16 gradient, which XLA sums over the devices
before it is cast back. Here the gradient is float32 when it is summed, on TPUs in the convolution itself.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from selftrain_jax.models.native_convolution import Pads, native

Convolution = Callable[..., Array]  # (x, kernel, stride, pads) -> y
KernelGradient = Callable[..., Array]  # (x, kernel, the gradient of y, stride, pads) -> float32


def with_float32_kernel(convolve: Convolution, kernel_gradient: KernelGradient) -> Convolution:
    """Make a convolution in x's dtype of a float32 kernel, whose gradient `kernel_gradient` computes."""

    @partial(jax.custom_vjp, nondiff_argnums=(2, 3))
    def mixed(x: Array, kernel: Array, stride: int, pads: Pads) -> Array:
        return convolve(x, kernel.astype(x.dtype), stride, pads)

    def forward(x: Array, kernel: Array, stride: int, pads: Pads) -> tuple[Array, tuple[Array, Array]]:
        return mixed(x, kernel, stride, pads), (x, kernel)

    def backward(stride: int, pads: Pads, saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
        x, kernel = saved
        narrow = kernel.astype(x.dtype)
        of_x = jax.vjp(lambda x: convolve(x, narrow, stride, pads), x)[1](gradient)[0]
        return of_x, kernel_gradient(x, narrow, gradient, stride, pads)

    mixed.defvjp(forward, backward)
    return mixed


def float32_kernel_gradient(
    x: Float[Array, "B h w C"],
    kernel: Float[Array, "k k C1 C2"],
    gradient: Float[Array, "B h2 w2 C2"],
    stride: int,
    pads: Pads,
) -> Float[Array, "k k C1 C2"]:
    """Correlate the input with the output's gradient, with examples in the role of channels."""
    reach = [stride * (n - 1) + 1 for n in gradient.shape[1:3]]
    correlation_pads = [
        (before, size_px + span - 1 - before - n)
        for size_px, span, n, (before, _) in zip(kernel.shape[:2], reach, x.shape[1:3], pads, strict=True)
    ]
    return lax.conv_general_dilated(
        x,
        gradient,
        (1, 1),
        correlation_pads,
        rhs_dilation=(stride, stride),
        dimension_numbers=("CHWN", "IHWO", "HWNC"),
        batch_group_count=x.shape[-1] // kernel.shape[2],
        preferred_element_type=jnp.float32,
    )


convolve_mixed = with_float32_kernel(native, float32_kernel_gradient)
