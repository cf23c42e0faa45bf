"""Convolution in bfloat16 whose kernel and its gradient are float32; call `convolve_mixed()`.

Autodiff would give a kernel that is cast to bfloat16 a bfloat16 gradient, which XLA sums over the devices
before it is cast back. Here the gradient is float32 when it is summed, on TPUs in the convolution itself.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from selftrain_jax.models.native_convolution import Pads, native, native_input_gradient


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve_mixed(
    x: Float[Array, "B h w C"], kernel: Float[Array, "k k C1 C2"], stride: int, pads: Pads
) -> Float[Array, "B h2 w2 C2"]:
    """Convolve in x's dtype; the kernel and its gradient are float32. C1 as in `native`."""
    return native(x, kernel.astype(x.dtype), stride, pads)


def _mixed_forward(x: Array, kernel: Array, stride: int, pads: Pads) -> tuple[Array, tuple[Array, Array]]:
    return convolve_mixed(x, kernel, stride, pads), (x, kernel)


def _mixed_backward(
    stride: int, pads: Pads, saved: tuple[Array, Array], gradient: Array
) -> tuple[Array, Array]:
    x, kernel = saved
    grad_x = native_input_gradient(x, kernel.astype(x.dtype), gradient, stride, pads)
    return grad_x, float32_kernel_gradient(x, gradient, kernel.shape, stride, pads)


convolve_mixed.defvjp(_mixed_forward, _mixed_backward)


def float32_kernel_gradient(
    x: Float[Array, "B h w C"],
    gradient: Float[Array, "B h2 w2 C2"],
    shape: tuple[int, ...],
    stride: int,
    pads: Pads,
) -> Float[Array, "k k C1 C2"]:
    """Correlate the input with the output's gradient, with examples in the role of channels."""
    reach = [stride * (n - 1) + 1 for n in gradient.shape[1:3]]
    correlation_pads = [
        (before, size_px + span - 1 - before - n)
        for size_px, span, n, (before, _) in zip(shape[:2], reach, x.shape[1:3], pads, strict=True)
    ]
    return lax.conv_general_dilated(
        x,
        gradient,
        (1, 1),
        correlation_pads,
        rhs_dilation=(stride, stride),
        dimension_numbers=("CHWN", "IHWO", "HWNC"),
        batch_group_count=x.shape[-1] // shape[2],
        preferred_element_type=jnp.float32,
    )
