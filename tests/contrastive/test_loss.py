"""NT-Xent against a plain numpy loss, by hand, in limits, and under other orders of the images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.contrastive.loss import nt_xent
from selftrain_jax.errors import InputError


def numpy_loss(z: np.ndarray, temperature: float) -> np.ndarray:
    """Equation 1, view by view."""
    z = z / np.sqrt((z**2).sum(axis=1, keepdims=True))
    losses = []
    for i in range(len(z)):
        j = i + 1 if i % 2 == 0 else i - 1
        positive = np.exp(z[i] @ z[j] / temperature)
        others = sum(np.exp(z[i] @ z[k] / temperature) for k in range(len(z)) if k != i)
        losses.append(-np.log(positive / others))
    return np.array(losses)


def draw(num_views: int, dim: int = 7, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(num_views, dim)) * 3


@pytest.mark.parametrize("temperature", [0.05, 0.1, 0.5, 1.0, 10.0])
@pytest.mark.parametrize("num_views", [4, 6, 32])
def test_losses_are_those_of_numpy(num_views: int, temperature: float) -> None:
    z = draw(num_views, seed=num_views)
    found = nt_xent(jnp.float32(z), temperature).losses
    np.testing.assert_allclose(found, numpy_loss(z, temperature), rtol=2e-5, atol=1e-5)


def test_two_images_by_hand() -> None:
    """Views (1, 0) twice and (0, 2) twice at t = 1: -log(e / (e + 1 + 1)); all four find their partner."""
    z = jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 2.0], [0.0, 2.0]])
    found = nt_xent(z, 1.0)
    np.testing.assert_allclose(found.losses, np.full(4, np.log((np.e + 2) / np.e)), rtol=1e-6)
    assert found.hits.tolist() == [True] * 4


def test_four_views_at_one_point_are_guesses_among_three_and_no_hits() -> None:
    found = nt_xent(jnp.ones((4, 3)), 0.1)
    np.testing.assert_allclose(found.losses, np.log(3), rtol=1e-6)
    assert not found.hits.any()


def test_high_temperature_is_a_guess_among_all_other_views() -> None:
    np.testing.assert_allclose(nt_xent(jnp.float32(draw(10)), 1e6).losses, np.log(9), rtol=1e-4)


def test_order_of_images_and_length_of_projections_do_not_count() -> None:
    z = draw(12)
    before = nt_xent(jnp.float32(z), 0.2)
    order = np.random.default_rng(1).permutation(6)
    mixed = z.reshape(6, 2, -1)[order] * np.array([[[2.0], [0.3]]])
    after = nt_xent(jnp.float32(mixed.reshape(12, -1)), 0.2)
    np.testing.assert_allclose(after.losses.reshape(6, 2), before.losses.reshape(6, 2)[order], rtol=1e-4)
    np.testing.assert_array_equal(after.hits.reshape(6, 2), before.hits.reshape(6, 2)[order])


def test_gradient_is_finite_for_zeros_and_small_temperatures() -> None:
    z = jnp.float32(draw(6)).at[2].set(0)
    gradient = jax.grad(lambda z: nt_xent(z, 0.01).losses.mean())(z)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient[jnp.array([0, 1, 3, 4, 5])]).max(axis=1).min() > 0


@pytest.mark.parametrize("temperature", [0.0, -0.1, float("nan"), float("inf")])
def test_no_temperature_is_refused(temperature: float) -> None:
    with pytest.raises(InputError, match=r"temperature is .*above 0, as 0\.1"):
        nt_xent(jnp.ones((4, 3)), temperature)


@pytest.mark.parametrize("num_views", [2, 5])
def test_one_image_alone_is_refused(num_views: int) -> None:
    with pytest.raises(InputError, match=f"{num_views} views; .*at least two images"):
        nt_xent(jnp.ones((num_views, 3)), 0.1)
