import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.train import optimizer

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/schedules.json").read_text())
CASES = [(name, case) for name, cases in GOLDEN.items() for case in cases]


@pytest.mark.parametrize(("name", "case"), CASES)
def test_schedule_gives_the_official_numbers(name, case):
    settings = {key: value for key, value in case.items() if key != "values"}
    schedule = getattr(optimizer, name)(**settings)
    for step, expected in case["values"].items():
        assert schedule(int(step)) == pytest.approx(expected, rel=1e-5, abs=1e-8), step


def test_cosine_ends_at_zero_and_stays_there():
    schedule = optimizer.warmup_cosine(0.1, 0.0, 0, 10)
    assert schedule(0) == 0.1
    assert schedule(5) == pytest.approx(0.05)
    assert schedule(10) == schedule(11) == 0.0


def test_constant_rises_to_its_peak_and_stays_there():
    schedule = optimizer.warmup_constant(0.1, 0.02, 4, 10)
    assert [schedule(step) for step in (0, 2, 4, 9, 10)] == pytest.approx([0.02, 0.06, 0.1, 0.1, 0.1])


def test_impossible_schedules_are_refused():
    with pytest.raises(InputError, match="10 warm-up steps in a run of 10"):
        optimizer.warmup_constant(0.1, 0.0, 10, 10)
    with pytest.raises(InputError, match="1000 warm-up steps in a run of 500"):
        optimizer.warmup_cosine(0.1, 0.0, 1000, 500)
    with pytest.raises(InputError, match="rising"):
        optimizer.step_decay(0.1, 0.0, 100, [300, 200])


def test_l2_clip_and_momentum_equal_a_numpy_loop():
    rng = np.random.default_rng(0)
    params = {"conv": {"kernel": rng.normal(size=(2, 3)), "bias": rng.normal(size=3)}}
    tx = optimizer.momentum_sgd(momentum=0.9, weight_decay=0.1, clip_norm=1.5)
    ours = {"conv": {name: jnp.asarray(value, jnp.float32) for name, value in params["conv"].items()}}
    state = tx.init(ours)
    velocity = {"kernel": 0.0, "bias": 0.0}
    oracle = dict(params["conv"])
    for learning_rate in (0.1, 0.2, 0.05):
        grads = {"kernel": rng.normal(size=(2, 3)), "bias": rng.normal(size=3)}
        updates, state = tx.update(
            {"conv": {k: jnp.asarray(v, jnp.float32) for k, v in grads.items()}}, state, ours
        )
        ours = {"conv": {k: ours["conv"][k] - learning_rate * updates["conv"][k] for k in oracle}}

        grads["kernel"] = grads["kernel"] + 0.1 * oracle["kernel"]
        norm = np.sqrt(sum((grad**2).sum() for grad in grads.values()))
        assert norm > 1.5  # the clip is at work
        for key in oracle:
            velocity[key] = 0.9 * velocity[key] + grads[key] * 1.5 / norm
            oracle[key] = oracle[key] - learning_rate * velocity[key]
    for key in oracle:
        np.testing.assert_allclose(ours["conv"][key], oracle[key], rtol=1e-5)


def test_without_decay_clip_and_momentum_it_is_plain_descent():
    tx = optimizer.momentum_sgd(momentum=0.0, weight_decay=0.0)
    grads = {"kernel": jnp.array([3.0, -400.0])}
    updates, _ = tx.update(grads, tx.init(grads), grads)
    np.testing.assert_array_equal(updates["kernel"], grads["kernel"])


def test_decay_acts_on_kernels_and_on_bn_when_asked():
    params = {"stem": {"conv": {"kernel": 1.0, "bias": 1.0}, "bn": {"scale": 1.0, "bias": 1.0}}}
    assert optimizer.decay_mask(params) == {
        "stem": {"conv": {"kernel": True, "bias": False}, "bn": {"scale": False, "bias": False}}
    }
    assert optimizer.decay_mask(params, decay_bn=True) == {
        "stem": {"conv": {"kernel": True, "bias": False}, "bn": {"scale": True, "bias": True}}
    }


def test_decayed_bn_moves_without_a_gradient():
    params = {"bn": {"scale": jnp.ones(2), "bias": jnp.ones(2)}, "conv": {"bias": jnp.ones(2)}}
    tx = optimizer.momentum_sgd(weight_decay=0.5, decay_bn=True)
    updates, _ = tx.update(optax.tree.zeros_like(params), tx.init(params), params)
    np.testing.assert_array_equal(updates["bn"]["scale"], [0.5, 0.5])
    np.testing.assert_array_equal(updates["conv"]["bias"], [0.0, 0.0])


@pytest.mark.parametrize("factor", [0.0, 0.1])
def test_the_backbone_moves_by_a_share_of_what_the_others_move(factor):
    params = {"backbone": {"stem": {"kernel": jnp.array([2.0])}}, "head": {"kernel": jnp.array([2.0])}}
    grads = {"backbone": {"stem": {"kernel": jnp.array([0.5])}}, "head": {"kernel": jnp.array([0.5])}}
    tx = optimizer.momentum_sgd(momentum=0.5, weight_decay=0.1, backbone_factor=factor)
    state = tx.init(params)
    for expected in (0.7, 1.05):  # g = 0.5 + 0.1 * 2; v = 0.7, then 0.5 * 0.7 + 0.7
        updates, state = tx.update(grads, state, params)
        assert updates["head"]["kernel"][0] == pytest.approx(expected)
        assert updates["backbone"]["stem"]["kernel"][0] == pytest.approx(factor * expected)


def test_with_a_factor_of_one_the_state_is_that_of_the_papers_optimizer():
    params = {"backbone": {"kernel": jnp.ones(1)}}
    plain, same = (
        optimizer.momentum_sgd(weight_decay=0.1, **extra) for extra in ({}, {"backbone_factor": 1.0})
    )
    assert str(plain.init(params)) == str(same.init(params))


@pytest.mark.parametrize("factor", [-0.1, float("nan"), float("inf")])
def test_a_factor_that_is_none_is_refused(factor):
    with pytest.raises(InputError, match=r"config.optimizer.backbone_rate_factor=.*expected 0"):
        optimizer.momentum_sgd(weight_decay=0.0, backbone_factor=factor)
