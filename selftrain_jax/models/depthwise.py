"""Depthwise convolution, EfficientNet's and the separable NAS-FPN's; call `depthwise_convolve()`."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from selftrain_jax.models.convolution import convolve_by_platform
from selftrain_jax.models.native_convolution import Pads

BLOCK_ROWS = 16  # with 8 it is twice as slow


def depthwise_convolve(
    x: Float[Array, "B h w C"], kernel: Float[Array, "k k 1 C"], stride: int, pads: Pads
) -> Float[Array, "B h2 w2 C"]:
    """Convolve each channel with its own k×k kernel.

    On CPU, XLA's depthwise convolution is tens of times slower than k·k shifted products.
    """
    return convolve_by_platform(shifted_products, x, kernel, stride, pads)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def shifted_products(
    x: Float[Array, "B h w C"], kernel: Float[Array, "k k 1 C"], stride: int, pads: Pads
) -> Float[Array, "B h2 w2 C"]:
    """Return Σ_ij kernel[i, j] · (x shifted by i, j), with the kernel in x's dtype, summed in float32."""
    size = kernel.shape[0]
    padded = jnp.pad(x.astype(jnp.float32), ((0, 0), *pads, (0, 0)))
    height, width = ((n - size) // stride + 1 for n in padded.shape[1:3])
    shifts = shifted(padded, size, stride, (height, width))
    weights = kernel.astype(x.dtype).reshape(-1, kernel.shape[-1])
    return sum(part * weight for part, weight in zip(shifts, weights, strict=True)).astype(x.dtype)


def shifted(
    padded: Float[Array, "B h w C"], size: int, stride: int, shape: tuple[int, int]
) -> list[Float[Array, "B h2 w2 C"]]:
    """Return every `stride`-th pixel, starting at each of size·size offsets, row by row."""
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
        input_gradient(x.shape, kernel.astype(x.dtype), gradient, stride, pads).astype(x.dtype),
        kernel_gradient(x, kernel, gradient, stride, pads).astype(kernel.dtype),
    )


shifted_products.defvjp(_forward, _backward)


def input_gradient(
    shape: tuple[int, ...], kernel: Float[Array, "k k 1 C"], gradient: Array, stride: int, pads: Pads
) -> Float[Array, "B h w C"]:
    """Put zeros between the gradient's cells (stride) and convolve with the kernel rotated by 180°."""
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


def kernel_gradient(
    x: Float[Array, "B h w C"], kernel: Float[Array, "k k 1 C"], gradient: Array, stride: int, pads: Pads
) -> Float[Array, "k k 1 C"]:
    """Sum gradient · (x shifted) over batch, rows and columns, for one row of the kernel at a time.

    The inner loop takes blocks of `BLOCK_ROWS` rows of an image, which fit into a core's cache. The outer
    loop, over the rows of the kernel, keeps the compile time short.
    """
    size, channels = kernel.shape[0], kernel.shape[-1]
    batch, rows, columns = gradient.shape[:3]
    block = min(rows, BLOCK_ROWS)
    num_blocks = -(-rows // block)
    missing = num_blocks * block - rows  # rows of zeros that fill the last block
    (above, below), sides = pads
    below += stride * missing
    padded = jnp.pad(x.astype(jnp.float32), ((0, 0), (above, below), sides, (0, 0)))
    gradient = jnp.pad(gradient.astype(jnp.float32), ((0, 0), (0, missing), (0, 0), (0, 0)))
    strip_shape = (1, stride * (block - 1) + 1, padded.shape[2], channels)

    def kernel_row_gradient(i: Array) -> Array:
        def add_block(sums: list[Array], index: Array) -> tuple[list[Array], None]:
            image, first = index // num_blocks, index % num_blocks * block
            strip = lax.dynamic_slice(padded, (image, first * stride + i, 0, 0), strip_shape)
            slope = lax.dynamic_slice(gradient, (image, first, 0, 0), (1, block, columns, channels))
            strip, slope = lax.optimization_barrier((strip[0], slope[0]))
            return add_products(sums, strip, slope, stride), None

        zeros = [jnp.zeros((columns, channels))] * size
        sums, _ = lax.scan(add_block, zeros, jnp.arange(batch * num_blocks))
        return jnp.stack(lax.optimization_barrier(sums)).sum(1)

    return lax.map(kernel_row_gradient, jnp.arange(size)).reshape(kernel.shape)


def add_products(
    sums: list[Float[Array, "w C"]], strip: Float[Array, "h2 w2 C"], slope: Float[Array, "h w C"], stride: int
) -> list[Float[Array, "w C"]]:
    """Add slope · (strip shifted by j columns) to the j-th sum, by rows: XLA keeps the sums in registers."""
    width = stride * (slope.shape[1] - 1) + 1
    return [
        sum((strip[stride * r, j : j + width : stride] * slope[r] for r in range(len(slope))), added)
        for j, added in enumerate(sums)
    ]
