"""XLA's own 2-D convolution of NHWC with HWIO, `native()`, and its gradient of the input."""

import jax
from jax import lax
from jaxtyping import Array, Float

Pads = tuple[tuple[int, int], tuple[int, int]]  # zeros before and after the rows, then the columns

NO_PADS: Pads = ((0, 0), (0, 0))


def native(
    x: Float[Array, "B h w C"], kernel: Float[Array, "k k C1 C2"], stride: int, pads: Pads
) -> Float[Array, "B h2 w2 C2"]:
    """Call XLA's convolution; x and kernel have one dtype. C1 is C, or 1 for a depthwise convolution."""
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        pads,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1] // kernel.shape[2],
    )


def native_input_gradient(x: Array, kernel: Array, gradient: Array, stride: int, pads: Pads) -> Array:
    """Return XLA's gradient of the input."""
    return jax.vjp(lambda x: native(x, kernel, stride, pads), x)[1](gradient)[0]
