"""Convolution in forms that are fast on CPU; call `convolve_cpu()`.

A 1×1 kernel is a matrix product, the gradient of a larger one is summed over parts of the batch, and on maps
smaller than the kernel the input's gradient is a convolution too. On large and tiny maps the gradients are
1.6 to 7 times faster than XLA's, elsewhere equal (tests/benchmarks/cpu_layers.py).
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from selftrain_jax.models.native_convolution import NO_PADS, Pads, native, native_input_gradient

CHUNK_PX = 1024  # output pixels from which a part of a kernel's gradient is computed at once
MAX_CHUNKS = 16


def convolve_cpu(
    x: Float[Array, "B h w C"], kernel: Float[Array, "k k C C2"], stride: int, pads: Pads
) -> Float[Array, "B h2 w2 C2"]:
    """Convolve in x's dtype; the kernel's is cast to it."""
    is_pointwise = kernel.shape[:2] == (1, 1) and pads == NO_PADS
    fast = _pointwise if is_pointwise else _chunked
    return fast(x, kernel.astype(x.dtype), stride, pads)


# 1×1 kernels.


def _pointwise(x: Array, kernel: Array, stride: int, pads: Pads) -> Array:
    return matrix_product(x[:, ::stride, ::stride], kernel[0, 0])


@jax.custom_vjp
def matrix_product(x: Float[Array, "B h w C"], weights: Float[Array, "C C2"]) -> Float[Array, "B h w C2"]:
    """Multiply each pixel by `weights`.

    In the gradient a barrier keeps XLA from fusing the products with what computes their operands: it
    would compute those transposed, in an order that is slow in memory.
    """
    return x @ weights


def _product_forward(x: Array, weights: Array) -> tuple[Array, tuple[Array, Array]]:
    return x @ weights, (x, weights)


def _product_backward(saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    (x, weights), gradient = lax.optimization_barrier((saved, gradient))
    inputs, outputs = weights.shape
    return gradient @ weights.T, x.reshape(-1, inputs).T @ gradient.reshape(-1, outputs)


matrix_product.defvjp(_product_forward, _product_backward)


# Larger kernels.

_chunked = jax.custom_vjp(native, nondiff_argnums=(2, 3))


def _chunked_forward(x: Array, kernel: Array, stride: int, pads: Pads) -> tuple[Array, tuple[Array, Array]]:
    return native(x, kernel, stride, pads), (x, kernel)


def _chunked_backward(
    stride: int, pads: Pads, saved: tuple[Array, Array], gradient: Array
) -> tuple[Array, Array]:
    x, kernel = saved
    is_small = stride == 1 and x.shape[1] < kernel.shape[0]
    input_gradient = small_map_gradient if is_small else native_input_gradient
    return (
        input_gradient(x, kernel, gradient, stride, pads),
        chunked_kernel_gradient(x, kernel, gradient, stride, pads),
    )


_chunked.defvjp(_chunked_forward, _chunked_backward)


def small_map_gradient(x: Array, kernel: Array, gradient: Array, stride: int, pads: Pads) -> Array:
    """Convolve with the kernel rotated by 180°; XLA would swap kernel and image, 6 times slower in all."""
    size = kernel.shape[0]
    rotated_pads = [(size - 1 - before, size - 1 - after) for before, after in pads]
    padded = jnp.pad(gradient, ((0, 0), *rotated_pads, (0, 0)))
    padded, rotated = lax.optimization_barrier((padded, kernel[::-1, ::-1].swapaxes(2, 3)))
    return native(padded, rotated, 1, NO_PADS)


def chunked_kernel_gradient(
    x: Float[Array, "B h w C"], kernel: Float[Array, "k k C C2"], gradient: Array, stride: int, pads: Pads
) -> Float[Array, "k k C C2"]:
    """Sum the kernel's gradient over chunks of the batch of at least `CHUNK_PX` output pixels each."""
    batch, rows, columns = gradient.shape[:3]
    images = max(1, CHUNK_PX // (rows * columns), -(-batch // MAX_CHUNKS))

    def chunk_gradient(start: int) -> Array:
        chunk = slice(start, start + images)
        pull = jax.vjp(lambda kernel: native(x[chunk], kernel, stride, pads), kernel)[1]
        return pull(gradient[chunk])[0]

    first, *others = (chunk_gradient(start) for start in range(0, batch, images))
    return sum(others, first)
