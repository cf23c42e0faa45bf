"""NT-Xent, the loss of SimCLR: an image's two views find each other among all views; call `nt_xent`.

Chen et al., "A simple framework for contrastive learning of visual representations" (2020).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from selftrain_jax.errors import InputError

SMALLEST_SQUARE = 1e-12


class ContrastiveScores(NamedTuple):
    """What is said of each of V views."""

    losses: Float[Array, " V"]
    hits: Bool[Array, " V"]  # whether no other view is as similar as the second one of the same image


def check_temperature(temperature: float) -> None:
    """Refuse what is no temperature.

    Raises:
        InputError: it is not above 0, or not finite.
    """
    if not 0 < temperature < float("inf"):
        raise InputError(
            f"temperature is {temperature:g}; expected a number above 0, as 0.1, by which similarities are "
            "divided"
        )


def nt_xent(projections: Float[Array, "V D"], temperature: float) -> ContrastiveScores:
    """Return -log(exp(s_ij / t) / sum_{k != i} exp(s_ik / t)) of each view i, where j is its image's other.

    Rows 2n and 2n + 1 are the views of image n, and s is the cosine of the angle between two rows. Under
    `jax.jit` with rows split over devices the sum goes over the views of all devices.

    Raises:
        InputError: there are fewer than two images, or `check_temperature` refuses.

    Paper: Chen et al., equation 1; its average over all views is the training loss.
    Differs: the official code adds the averages over first and over second views, which is twice as much.
    """
    check_temperature(temperature)
    num_views = projections.shape[0]
    if num_views < 4 or num_views % 2:
        raise InputError(f"{num_views} views; expected two of each image, of at least two images")
    view = jnp.arange(num_views)
    similar = _cosines(projections) / temperature
    similar = jnp.where(view[:, None] == view, -jnp.inf, similar)
    positive = jnp.take_along_axis(similar, (view ^ 1)[:, None], axis=1)
    losses = jax.nn.logsumexp(similar, axis=1) - positive[:, 0]
    return ContrastiveScores(losses, jnp.sum(similar >= positive, axis=1) == 1)


def _cosines(rows: Float[Array, "V D"]) -> Float[Array, "V V"]:
    """Compare each row with each; a row of zeros is at right angles to all."""
    squares = jnp.sum(rows * rows, axis=1, keepdims=True)
    unit = rows * jax.lax.rsqrt(jnp.maximum(squares, SMALLEST_SQUARE))
    return jnp.matmul(unit, unit.T, precision=jax.lax.Precision.HIGHEST)
