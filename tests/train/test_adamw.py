"""AdamW against PyTorch's numbers and by hand, and what a frozen backbone's optimizer leaves alone."""

import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.train.optimizer import adamw, momentum_sgd, skip_backbone

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/adamw.json").read_text())


def as_layer(arrays):
    return {"layer": {name: jnp.asarray(values, jnp.float32) for name, values in arrays.items()}}


def descend(params, updates, rate):
    return jax.tree.map(lambda w, update: w - rate * update, params, updates)


def test_three_updates_are_pytorchs():
    tx, params = adamw(**GOLDEN["settings"]), as_layer(GOLDEN["start"])
    state = tx.init(params)
    for rate, grads in zip(GOLDEN["rates"], GOLDEN["grads"], strict=True):
        updates, state = tx.update(as_layer(grads), state, params)
        params = descend(params, updates, rate)
    for name, expected in GOLDEN["end"].items():
        np.testing.assert_allclose(params["layer"][name], expected, rtol=1e-5, err_msg=name)


def test_the_first_update_is_the_gradients_sign_and_the_decay_of_kernels_alone():
    """m / √v is g / |g| after the correction of both averages, whatever b1 and b2 are."""
    params = {
        "conv": {"kernel": jnp.array([2.0, -4.0]), "bias": jnp.array([2.0]), "gamma": jnp.array([2.0])},
        "norm": {"scale": jnp.array([2.0]), "bias": jnp.array([2.0])},
    }
    grads = jax.tree.map(lambda w: -3 * w, params)
    tx = adamw(b1=0.7, b2=0.9, weight_decay=0.5)
    updates, _ = tx.update(grads, tx.init(params), params)
    np.testing.assert_allclose(updates["conv"]["kernel"], [-1 + 0.5 * 2, 1 - 0.5 * 4], atol=1e-6)
    for plain in (updates["conv"]["bias"], updates["conv"]["gamma"], *updates["norm"].values()):
        np.testing.assert_allclose(plain, [-1], atol=1e-6)


def test_the_gradient_is_clipped_before_it_is_averaged():
    params = {"w": jnp.zeros(2)}
    tx, plain = adamw(weight_decay=0.0, clip_norm=1.0), adamw(weight_decay=0.0)
    clipped, state = tx.update({"w": jnp.array([30.0, 40.0])}, tx.init(params), params)
    by_hand, same = plain.update({"w": jnp.array([0.6, 0.8])}, plain.init(params), params)
    np.testing.assert_allclose(clipped["w"], by_hand["w"], rtol=1e-6)
    np.testing.assert_allclose(state[1].nu["w"], same[1].nu["w"], rtol=1e-6)
    np.testing.assert_allclose(state[1].nu["w"], [0.001 * 0.36, 0.001 * 0.64], rtol=1e-5)


def test_a_factor_scales_the_backbones_step_and_its_decay():
    layer = {"kernel": jnp.array([2.0])}
    params = {"backbone": {"stem": layer}, "head": layer}
    tx = adamw(weight_decay=0.5, backbone_factor=0.1)
    updates, _ = tx.update(params, tx.init(params), params)
    np.testing.assert_allclose(updates["head"]["kernel"], [2.0], rtol=1e-5)
    np.testing.assert_allclose(updates["backbone"]["stem"]["kernel"], [0.2], rtol=1e-5)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"b1": 1.0}, "config.optimizer.b1=1 .*at least 0 and below 1"),
        ({"b2": -0.1}, "config.optimizer.b2=-0.1 "),
        ({"b2": math.nan}, "config.optimizer.b2=nan "),
        ({"epsilon": 0.0}, "config.optimizer.epsilon=0; expected a number above 0"),
        ({"weight_decay": -1.0}, "config.optimizer.weight_decay=-1; expected 0 or more"),
    ],
)
def test_values_outside_their_range_are_refused(setting, message):
    with pytest.raises(InputError, match=message):
        adamw(**{"weight_decay": 0.0, **setting})


@pytest.mark.parametrize("make", [adamw, momentum_sgd])
def test_a_skipped_backbone_stays_to_the_bit_and_the_rest_does_not_see_it(make):
    rng = np.random.default_rng(0)
    params = {part: {"kernel": jnp.asarray(rng.normal(size=5), jnp.float32)} for part in ("backbone", "head")}
    grads = jax.tree.map(lambda w: 100 * w, params)
    tx = make(weight_decay=0.5, clip_norm=1.0)
    skipping = skip_backbone(tx)
    state, alone = skipping.init(params), tx.init({"head": params["head"]})
    assert jax.tree.structure(state) == jax.tree.structure(alone)
    updates, _ = skipping.update(grads, state, params)
    expected, _ = tx.update({"head": grads["head"]}, alone, {"head": params["head"]})
    assert optax.tree.norm(expected) > 0.1
    np.testing.assert_array_equal(updates["head"]["kernel"], expected["head"]["kernel"])
    moved = descend(params, updates, 0.3)
    np.testing.assert_array_equal(moved["backbone"]["kernel"], params["backbone"]["kernel"])
    assert jax.tree.structure(updates) == jax.tree.structure(params)
