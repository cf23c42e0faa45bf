"""2-D convolution in the form that is fast where it runs; call `convolve()`."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from selftrain_jax.models.mixed_precision import Pads, convolve_mixed, native
from selftrain_jax.models.rows import place_rows

CHUNK_PX = 1024  # output pixels whose part of a kernel's gradient is computed at once on CPU
MAX_CHUNKS = 16


def convolve(
    x: Float[Array, "B h w C"], kernel: Float[Array, "k k C C2"], stride: int, pads: Pads
) -> Float[Array, "B h2 w2 C2"]:
    """Convolve NHWC with HWIO; `pads` are the zeros around rows and columns.

    On CPU a 1×1 kernel is a matrix product, a larger one's gradient is summed over parts of the batch,
    and on maps smaller than the kernel the input's gradient is a convolution too: on large and tiny
    maps gradients take 1.6 to 7 times less than XLA's own, else the same (tests/benchmarks/cpu_layers.py).
    Elsewhere the gradient of a float32 kernel is float32 whatever x is, see `mixed_precision`.
    """
    is_pointwise = kernel.shape[:2] == (1, 1) and pads == ((0, 0), (0, 0))
    fast = _pointwise if is_pointwise else _chunked
    y = lax.platform_dependent(
        place_rows(x),
        kernel,
        cpu=lambda x, kernel: fast(x, kernel.astype(x.dtype), stride, pads),
        default=partial(native if x.dtype == kernel.dtype else convolve_mixed, stride=stride, pads=pads),
    )
    return place_rows(y)


def _pointwise(x: Array, kernel: Array, stride: int, pads: Pads) -> Array:
    return matrix_product(x[:, ::stride, ::stride], kernel[0, 0])


@jax.custom_vjp
def matrix_product(x: Float[Array, "B h w C"], weights: Float[Array, "C C2"]) -> Float[Array, "B h w C2"]:
    """Multiply each pixel by `weights`; the gradient's operands are held apart from what made them.

    Fused into the product, XLA would compute them transposed, against the grain of memory.
    """
    return x @ weights


def _product_forward(x: Array, weights: Array) -> tuple[Array, tuple[Array, Array]]:
    return x @ weights, (x, weights)


def _product_backward(saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    (x, weights), gradient = lax.optimization_barrier((saved, gradient))
    inputs, outputs = weights.shape
    return gradient @ weights.T, x.reshape(-1, inputs).T @ gradient.reshape(-1, outputs)


matrix_product.defvjp(_product_forward, _product_backward)

_chunked = jax.custom_vjp(native, nondiff_argnums=(2, 3))


def _chunked_forward(x: Array, kernel: Array, stride: int, pads: Pads) -> tuple[Array, tuple[Array, Array]]:
    return native(x, kernel, stride, pads), (x, kernel)


def _chunked_backward(
    stride: int, pads: Pads, saved: tuple[Array, Array], gradient: Array
) -> tuple[Array, Array]:
    x, kernel = saved
    of_input = small_map_gradient if stride == 1 and x.shape[1] < kernel.shape[0] else gradient_of_input
    return (
        of_input(x, kernel, gradient, stride, pads),
        gradient_of_kernel(x, kernel, gradient, stride, pads),
    )


_chunked.defvjp(_chunked_forward, _chunked_backward)


def gradient_of_input(x: Array, kernel: Array, gradient: Array, stride: int, pads: Pads) -> Array:
    """Leave the input's gradient to XLA."""
    return jax.vjp(lambda x: native(x, kernel, stride, pads), x)[1](gradient)[0]


def small_map_gradient(x: Array, kernel: Array, gradient: Array, stride: int, pads: Pads) -> Array:
    """Convolve with the kernel turned by 180°; XLA would exchange kernel and image, 6 times slower in all."""
    size = kernel.shape[0]
    around = [(size - 1 - before, size - 1 - after) for before, after in pads]
    padded = jnp.pad(gradient, ((0, 0), *around, (0, 0)))
    padded, turned = lax.optimization_barrier((padded, kernel[::-1, ::-1].swapaxes(2, 3)))
    return native(padded, turned, 1, ((0, 0), (0, 0)))


def gradient_of_kernel(
    x: Float[Array, "B h w C"], kernel: Float[Array, "k k C C2"], gradient: Array, stride: int, pads: Pads
) -> Float[Array, "k k C C2"]:
    """Sum the kernel's gradient over chunks of the batch of at least `CHUNK_PX` output pixels each."""
    batch, rows, columns = gradient.shape[:3]
    images = max(1, CHUNK_PX // (rows * columns), -(-batch // MAX_CHUNKS))

    def of_chunk(start: int) -> Array:
        chunk = slice(start, start + images)
        (found,) = jax.vjp(lambda kernel: native(x[chunk], kernel, stride, pads), kernel)[1](gradient[chunk])
        return found

    first, *others = (of_chunk(start) for start in range(0, batch, images))
    return sum(others, first)
