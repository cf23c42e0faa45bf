"""LARS against its formula in numpy, over several updates, and what it leaves alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.train.lars import lars

MOMENTUM, TRUST, DECAY, RATE = 0.9, 0.001, 0.1, 2.0


def draw(seed):
    rng = np.random.default_rng(seed)
    shapes = {
        "backbone": {"conv": {"kernel": (3, 3, 2, 4), "bias": (4,)}, "bn": {"scale": (4,), "bias": (4,)}},
        "projection": {"kernel": (4, 5)},
    }
    return jax.tree.map(lambda shape: rng.normal(size=shape), shapes, is_leaf=lambda x: isinstance(x, tuple))


def numpy_update(w, g, v, is_kernel):
    """One update as the paper and SimCLR's code have it."""
    if is_kernel:
        g = g + DECAY * w
        g = g * TRUST * np.sqrt((w**2).sum()) / np.sqrt((g**2).sum())
    return MOMENTUM * v + g


def test_three_updates_are_those_of_the_formula() -> None:
    tx, params = lars(momentum=MOMENTUM, trust_coefficient=TRUST, weight_decay=DECAY), draw(0)
    mine = jax.tree.map(jnp.float32, params)
    state, velocity = tx.init(mine), jax.tree.map(np.zeros_like, params)
    for number in range(1, 4):
        grads = draw(number)
        velocity = jax.tree.map_with_path(
            lambda path, w, g, v: numpy_update(w, g, v, path[-1].key == "kernel"), params, grads, velocity
        )
        params = jax.tree.map(lambda w, v: w - RATE * v, params, velocity)
        updates, state = tx.update(jax.tree.map(jnp.float32, grads), state, mine)
        mine = jax.tree.map(lambda w, v: w - RATE * v, mine, updates)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6), updates, velocity)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6), mine, params)


def test_the_length_of_an_update_does_not_depend_on_that_of_the_gradient() -> None:
    params = {"kernel": jnp.array([3.0, 4.0])}
    for gradient in ([1e-4, 0.0], [1e4, 0.0]):
        tx = lars(trust_coefficient=0.5, weight_decay=0.0)
        updates, _ = tx.update({"kernel": jnp.array(gradient)}, tx.init(params), params)
        np.testing.assert_allclose(updates["kernel"], [0.5 * 5, 0], rtol=1e-6)


def test_zeros_are_not_scaled() -> None:
    tx = lars(weight_decay=0.1)
    for w, g in (([0.0, 0.0], [3.0, 4.0]), ([0.0, 0.0], [0.0, 0.0])):
        params, grads = {"kernel": jnp.array(w)}, {"kernel": jnp.array(g)}
        updates, _ = tx.update(grads, tx.init(params), params)
        np.testing.assert_array_equal(updates["kernel"], g)


def test_biases_and_batch_norm_have_plain_momentum() -> None:
    params = {"bn": {"scale": jnp.ones(2), "bias": jnp.ones(2)}, "dense": {"bias": jnp.ones(2)}}
    tx = lars(momentum=0.5, weight_decay=0.1)
    _, state = tx.update(params, tx.init(params), params)
    updates, _ = tx.update(params, state, params)
    jax.tree.map(lambda update: np.testing.assert_allclose(update, 1.5), updates)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"trust_coefficient": 0.0}, r"config\.optimizer\.trust_coefficient=0 .*above 0, as 0\.001"),
        ({"trust_coefficient": float("nan")}, "trust_coefficient=nan"),
        ({"weight_decay": -1.0}, r"config\.optimizer\.weight_decay=-1; expected 0 or more"),
    ],
)
def test_values_outside_their_range_are_refused(setting, message) -> None:
    with pytest.raises(InputError, match=message):
        lars(**{"weight_decay": 0.0, **setting})
