"""What training costs, as its checkpoints say, over sessions on one and on two devices."""

import time

import jax
import pytest

from selftrain_jax.run_files.cost import NO_COST
from selftrain_jax.train.checkpoint import Checkpoints, training_cost, training_secs
from selftrain_jax.train.sharding import make_mesh
from selftrain_jax.train.step import jit_train_step, make_train_step
from tests.train.toy_run import NORMALIZER, TASK, TX, new_state, run

pytestmark = pytest.mark.compiles
ONE_DEVICE = make_mesh(devices=jax.devices()[:1])
BATCH_SIZE = 8


def run_on_one_device(directory, **changes):
    step = jit_train_step(make_train_step(TASK, TX, NORMALIZER, ema_decay=0.9), ONE_DEVICE)
    return run(directory, train_step=step, mesh=ONE_DEVICE, **changes)


def test_a_run_that_goes_on_with_fewer_devices_adds_up(tmp_path):
    run(tmp_path, num_steps=4)
    first, first_secs = training_cost(tmp_path), training_secs(tmp_path)
    assert first.images == 4 * BATCH_SIZE
    assert first.device_seconds == {"cpu": pytest.approx(2 * first_secs, rel=0.01)}
    run_on_one_device(tmp_path)
    second, second_secs = training_cost(tmp_path), training_secs(tmp_path)
    assert second.images == 6 * BATCH_SIZE
    added = second.device_seconds["cpu"] - first.device_seconds["cpu"]
    assert added == pytest.approx(second_secs - first_secs, rel=0.01)
    assert second.compiling_device_seconds > first.compiling_device_seconds  # the step on one device


def test_an_evaluation_that_compiles_is_compiling(tmp_path):
    """Its program takes a second to trace and no time to run."""

    def program(x):
        time.sleep(1)
        return 1.125 * x

    def evaluate(variables):
        jax.jit(program)(1.0)
        return {"eval/ap": 0.5}

    run(tmp_path, evaluate=evaluate)
    found = training_cost(tmp_path)
    assert found.compiling_device_seconds > 2
    assert 0 < found.evaluating_device_seconds < 2
    assert found.energy_joules is None


def test_the_cost_of_an_older_checkpoint_is_unknown_and_stays_so(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.cost == NO_COST
        checkpoints.save(new_state(), score=None, training_secs=5.0)
    assert training_cost(tmp_path) is None
    run(tmp_path)
    assert training_cost(tmp_path) is None
    assert training_secs(tmp_path) > 5
