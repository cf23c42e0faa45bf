"""Max-pooling whose gradient needs no search; call `max_pool()`."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, UInt8

from selftrain_jax.models.native_convolution import Pads


def max_pool(x: Float[Array, "B h w C"], size: int, stride: int, pads: Pads) -> Float[Array, "B h2 w2 C"]:
    """Return the greatest value of each window of size x size pixels; the gradient goes to the first of them.

    On TPUs that is XLA's, elsewhere `noting_max_pool`.
    """
    own = partial(noting_max_pool, size=size, stride=stride, pads=pads)
    return lax.platform_dependent(x, cpu=own, cuda=own, default=partial(native_max_pool, size, stride, pads))


def native_max_pool(size: int, stride: int, pads: Pads, x: Array) -> Array:
    """Call XLA's reduction over windows."""
    windows = (1, size, size, 1), (1, stride, stride, 1), ((0, 0), *pads, (0, 0))
    return lax.reduce_window(x, -np.inf, lax.max, *windows)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def noting_max_pool(
    x: Float[Array, "B h w C"], size: int, stride: int, pads: Pads
) -> Float[Array, "B h2 w2 C"]:
    """Pool; where a gradient is wanted, note at which place of its window the greatest value is.

    XLA's gradient looks for the place again, pixel by pixel: 5 to 20 times slower on CPU.
    """
    return native_max_pool(size, stride, pads, x)


Place = tuple[UInt8[Array, "B h2 w2 C"], tuple[int, ...]]  # and the shape of x


def _forward(x: Array, size: int, stride: int, pads: Pads) -> tuple[Array, Place]:
    greatest, *others = _parts(x, size, stride, pads)
    place = jnp.zeros(greatest.shape, jnp.uint8)
    for index, part in enumerate(others, start=1):
        place = jnp.where(part > greatest, jnp.uint8(index), place)
        greatest = jnp.maximum(greatest, part)
    return greatest, (place, x.shape)


def _parts(x: Array, size: int, stride: int, pads: Pads) -> list[Array]:
    """Return for each place of a window, row by row, the pixels that all windows have there."""
    lowest = jnp.array(-np.inf, x.dtype)
    padded = lax.pad(x, lowest, ((0, 0, 0), *((*pad, 0) for pad in pads), (0, 0, 0)))
    batch, height, width, channels = padded.shape
    rows, columns = ((n - size) // stride * stride + 1 for n in (height, width))
    return [
        lax.slice(padded, (0, i, j, 0), (batch, i + rows, j + columns, channels), (1, stride, stride, 1))
        for i in range(size)
        for j in range(size)
    ]


def _backward(size: int, stride: int, pads: Pads, saved: Place, gradient: Array) -> tuple[Array]:
    place, shape = saved
    zero = jnp.zeros((), gradient.dtype)

    def of_place(index: int) -> Array:
        sides = []
        for pixels, windows, offset, (before, _) in zip(
            shape[1:3], gradient.shape[1:3], divmod(index, size), pads, strict=True
        ):
            start = offset - before
            sides.append((start, pixels - start - stride * (windows - 1) - 1, stride - 1))
        return lax.pad(jnp.where(place == index, gradient, zero), zero, ((0, 0, 0), *sides, (0, 0, 0)))

    return (sum(map(of_place, range(1, size * size)), of_place(0)),)


noting_max_pool.defvjp(_forward, _backward)
