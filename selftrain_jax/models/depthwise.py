"""Depthwise convolution, EfficientNet's and the separable NAS-FPN's; call `depthwise_convolve()`."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Pads = tuple[tuple[int, int], tuple[int, int]]

NUM_BANDS = 8  # of rows, added before the sum over the rest


def depthwise_convolve(
    x: Float[Array, "B h w C"], kernel: Float[Array, "k k 1 C"], stride: int, pads: Pads
) -> Float[Array, "B h2 w2 C"]:
    """Convolve each channel with its own k×k kernel; `pads` are the zeros around rows and columns.

    XLA's own depthwise convolution is tens of times slower on CPU than k·k shifted products, so the
    traced program holds both and each platform takes its own when it is lowered.
    """
    return lax.platform_dependent(
        x,
        kernel,
        cpu=partial(shifted_products, stride=stride, pads=pads),
        default=partial(grouped_convolution, stride=stride, pads=pads),
    )


def grouped_convolution(
    x: Float[Array, "B h w C"], kernel: Float[Array, "k k 1 C"], stride: int, pads: Pads
) -> Float[Array, "B h2 w2 C"]:
    """Convolve by XLA, a group for each channel."""
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        pads,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def shifted_products(
    x: Float[Array, "B h w C"], kernel: Float[Array, "k k 1 C"], stride: int, pads: Pads
) -> Float[Array, "B h2 w2 C"]:
    """Return Σ_ij kernel[i, j] · (x shifted by i, j), summed in float32."""
    size = kernel.shape[0]
    padded = jnp.pad(x.astype(jnp.float32), ((0, 0), *pads, (0, 0)))
    height, width = ((n - size) // stride + 1 for n in padded.shape[1:3])
    shifts = shifted(padded, size, stride, (height, width))
    weights = kernel.reshape(-1, kernel.shape[-1])
    return sum(part * weight for part, weight in zip(shifts, weights, strict=True)).astype(x.dtype)


def shifted(
    padded: Float[Array, "B h w C"], size: int, stride: int, shape: tuple[int, int]
) -> list[Float[Array, "B h2 w2 C"]]:
    """Return every `stride`-th pixel from each of size·size origins, row by row."""
    batch, *_, channels = padded.shape
    height, width = (stride * (n - 1) + 1 for n in shape)
    return [
        lax.slice(padded, (0, i, j, 0), (batch, i + height, j + width, channels), (1, stride, stride, 1))
        for i in range(size)
        for j in range(size)
    ]


def _forward(x: Array, kernel: Array, stride: int, pads: Pads) -> tuple[Array, tuple[Array, Array]]:
    return shifted_products(x, kernel, stride, pads), (x, kernel)


def _backward(stride: int, pads: Pads, saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, kernel = saved
    return (
        gradient_of_input(x.shape, kernel, gradient, stride, pads).astype(x.dtype),
        gradient_of_kernel(x, kernel, gradient, stride, pads).astype(kernel.dtype),
    )


shifted_products.defvjp(_forward, _backward)


def gradient_of_input(
    shape: tuple[int, ...], kernel: Float[Array, "k k 1 C"], gradient: Array, stride: int, pads: Pads
) -> Float[Array, "B h w C"]:
    """Spread the gradient to the stride's grid and convolve it with the kernel turned by 180°."""
    size = kernel.shape[0]
    spread = [(0, 0, 0)]
    for length, outputs, (before, _) in zip(shape[1:3], gradient.shape[1:3], pads, strict=True):
        lead = size - 1 - before
        covered = lead + stride * (outputs - 1) + 1
        spread.append((lead, length + size - 1 - covered, stride - 1))
    zero = jnp.zeros((), jnp.float32)
    full = lax.pad(gradient.astype(jnp.float32), zero, (*spread, (0, 0, 0)))
    shifts = shifted(full, size, 1, (shape[1], shape[2]))
    weights = kernel[::-1, ::-1].reshape(-1, kernel.shape[-1])
    return sum(part * weight for part, weight in zip(shifts, weights, strict=True))


def gradient_of_kernel(
    x: Float[Array, "B h w C"], kernel: Float[Array, "k k 1 C"], gradient: Array, stride: int, pads: Pads
) -> Float[Array, "k k 1 C"]:
    """Sum gradient · (x shifted) over batch, rows and columns, a row of the kernel at a time.

    On CPU a sum over all but the last axis runs against the grain of memory; adding bands of rows first
    and multiplying what is left by ones is three to five times faster. The loop keeps compiling short.
    """
    size = kernel.shape[0]
    rows, columns, channels = gradient.shape[1:]
    padded = jnp.pad(x.astype(jnp.float32), ((0, 0), *pads, (0, 0)))

    def row_of_kernel(i: Array) -> Array:
        strip = lax.dynamic_slice_in_dim(padded, i, stride * (rows - 1) + 1, axis=1)[:, ::stride]
        width = stride * (columns - 1) + 1
        products = [strip[:, :, j : j + width : stride] * gradient for j in range(size)]
        stacked = jnp.stack([add_bands(product).reshape(-1, channels) for product in products])
        return jnp.einsum("r,jrc->jc", jnp.ones(stacked.shape[1]), stacked)

    return lax.map(row_of_kernel, jnp.arange(size)).reshape(kernel.shape)


def add_bands(x: Float[Array, "B h w C"]) -> Float[Array, "B h2 w C"]:
    """Cut the rows into `NUM_BANDS` bands, the last filled with zeros, and add the bands."""
    band = -(-x.shape[1] // NUM_BANDS)
    x = jnp.pad(x, ((0, 0), (0, band * NUM_BANDS - x.shape[1]), (0, 0), (0, 0)))
    first, *others = (x[:, i * band : (i + 1) * band] for i in range(NUM_BANDS))
    return sum(others, first)
