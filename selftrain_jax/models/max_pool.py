"""Max-pooling whose gradient needs no search; call `max_pool()`."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, UInt8

from selftrain_jax.models.depthwise import shifted
from selftrain_jax.models.native_convolution import Pads
from selftrain_jax.models.platforms import choose_by_platform


def max_pool(x: Float[Array, "B h w C"], size: int, stride: int, pads: Pads) -> Float[Array, "B h2 w2 C"]:
    """Return the greatest value of each window of size x size pixels; the gradient goes to the first of them.

    On TPUs that is XLA's, elsewhere `noting_max_pool`.
    """
    native, own = (
        partial(f, size=size, stride=stride, pads=pads) for f in (native_max_pool, noting_max_pool)
    )
    return choose_by_platform(x, tpu=native, default=own)


def native_max_pool(
    x: Float[Array, "B h w C"], size: int, stride: int, pads: Pads
) -> Float[Array, "B h2 w2 C"]:
    """Call XLA's pooling."""
    return nn.max_pool(x, window_shape=(size, size), strides=(stride, stride), padding=pads)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def noting_max_pool(
    x: Float[Array, "B h w C"], size: int, stride: int, pads: Pads
) -> Float[Array, "B h2 w2 C"]:
    """Pool; where a gradient is wanted, note at which place of its window the greatest value is.

    XLA's gradient looks for the place again, pixel by pixel: forward and backward took 6 to 30 times as long
    on CPU.
    """
    return native_max_pool(x, size, stride, pads)


Place = tuple[UInt8[Array, "B h2 w2 C"], tuple[int, ...]]  # and the shape of x


def _forward(x: Array, size: int, stride: int, pads: Pads) -> tuple[Array, Place]:
    lowest = jnp.array(-np.inf, x.dtype)
    padded = lax.pad(x, lowest, ((0, 0, 0), *((*pad, 0) for pad in pads), (0, 0, 0)))
    height, width = ((n - size) // stride + 1 for n in padded.shape[1:3])
    greatest, *others = shifted(padded, size, stride, (height, width))
    place = jnp.zeros(greatest.shape, jnp.uint8)
    for index, part in enumerate(others, start=1):
        place = jnp.where(part > greatest, jnp.uint8(index), place)
        greatest = jnp.maximum(greatest, part)
    return greatest, (place, x.shape)


def _backward(size: int, stride: int, pads: Pads, saved: Place, gradient: Array) -> tuple[Array]:
    """Give each window's gradient to the pixel at the place that was noted.

    Pixels are grouped by their row and column modulo the stride. Windows have those of one group at the same
    places, so that a group sums over few places: of 3x3 with a stride of 2, over 1, 2, 2 and 4.
    """
    place, shape = saved
    zero = jnp.zeros((), gradient.dtype)
    cells = [-(-(n + sum(pad)) // stride) for n, pad in zip(shape[1:3], pads, strict=True)]

    def of_place(i: int, j: int) -> Array:
        part = jnp.where(place == i * size + j, gradient, zero)
        starts = i // stride, j // stride
        sides = [
            (start, n - start - windows, 0)
            for start, n, windows in zip(starts, cells, part.shape[1:3], strict=True)
        ]
        return lax.pad(part, zero, ((0, 0, 0), *sides, (0, 0, 0)))

    def of_group(row: int, column: int) -> Array:
        terms = [of_place(i, j) for i in range(row, size, stride) for j in range(column, size, stride)]
        return sum(terms, jnp.zeros((len(gradient), *cells, gradient.shape[3]), gradient.dtype))

    rows = [jnp.stack([of_group(i, j) for j in range(stride)], axis=3) for i in range(stride)]
    whole = jnp.stack(rows, axis=2).reshape(len(gradient), stride * cells[0], stride * cells[1], -1)
    kept = (slice(before, before + n) for n, (before, _) in zip(shape[1:3], pads, strict=True))
    return (whole[:, *kept],)


noting_max_pool.defvjp(_forward, _backward)
