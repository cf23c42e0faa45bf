"""XLA's convolution in x's dtype with the kernel and its gradient in float32; call `convolve_mixed`.

The gradient of a kernel that was cast to bfloat16 is bfloat16, and XLA adds it up over the devices before it
is cast back. Here it leaves the accumulators as float32 and is added up so.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Pads = tuple[tuple[int, int], tuple[int, int]]


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve_mixed(
    x: Float[Array, "B h w C"], kernel: Float[Array, "k k C1 C2"], stride: int, pads: Pads
) -> Float[Array, "B h2 w2 C2"]:
    """Convolve NHWC with HWIO in x's dtype; C1 is C, or 1 where each channel has a kernel of its own."""
    return native(x, kernel.astype(x.dtype), stride, pads)


def native(
    x: Float[Array, "B h w C"], kernel: Float[Array, "k k C1 C2"], stride: int, pads: Pads
) -> Float[Array, "B h2 w2 C2"]:
    """Convolve by XLA alone, x and kernel of one dtype; C1 as in `convolve_mixed`."""
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        pads,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1] // kernel.shape[2],
    )


def _forward(x: Array, kernel: Array, stride: int, pads: Pads) -> tuple[Array, tuple[Array, Array]]:
    return convolve_mixed(x, kernel, stride, pads), (x, kernel)


def _backward(stride: int, pads: Pads, saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, kernel = saved
    cast = kernel.astype(x.dtype)
    (of_x,) = jax.vjp(lambda x: native(x, cast, stride, pads), x)[1](gradient)
    return of_x, kernel_gradient(x, gradient, kernel.shape, stride, pads)


convolve_mixed.defvjp(_forward, _backward)


def kernel_gradient(
    x: Float[Array, "B h w C"],
    gradient: Float[Array, "B h2 w2 C2"],
    shape: tuple[int, ...],
    stride: int,
    pads: Pads,
) -> Float[Array, "k k C1 C2"]:
    """Correlate input and output's gradient, examples as channels; the result is float32."""
    reach = [stride * (n - 1) + 1 for n in gradient.shape[1:3]]
    around = [
        (before, size_px + span - 1 - before - n)
        for size_px, span, n, (before, _) in zip(shape[:2], reach, x.shape[1:3], pads, strict=True)
    ]
    return lax.conv_general_dilated(
        x,
        gradient,
        (1, 1),
        around,
        rhs_dilation=(stride, stride),
        dimension_numbers=("CHWN", "IHWO", "HWNC"),
        batch_group_count=x.shape[-1] // shape[2],
        preferred_element_type=jnp.float32,
    )
