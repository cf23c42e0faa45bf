"""What a stage keeps on the device beside the state that it trains: nothing."""

import gc

import jax
import numpy as np
import pytest

from selftrain_jax.selftrain.loss_norm import plain_loss
from selftrain_jax.train import checkpoint
from selftrain_jax.train.loop import train
from selftrain_jax.train.optimizer import momentum_sgd
from selftrain_jax.train.sharding import make_mesh
from selftrain_jax.train.state import create_state
from selftrain_jax.train.step import jit_train_step, make_train_step
from tests.train.toy import assert_same, make_stream, make_task

pytestmark = pytest.mark.compiles

STATE_MIB = 12  # 4 MiB of weights, as much momentum, as much average
SMALL_MIB = 0.1  # batch, metrics, and the toy's own four weights
MESH = make_mesh(devices=jax.devices()[:1])
TX, NORMALIZER = momentum_sgd(weight_decay=1e-4), plain_loss(1.0)


def heavy(task):
    """Add 4 MiB of weights that the loss does not see."""

    def init(rng):
        variables = task.init(rng)
        ballast = {"kernel": jax.random.normal(rng, (2**20,))}
        return {**variables, "params": {**variables["params"], "ballast": ballast}}

    return task._replace(init=init)


TASK = heavy(make_task(noise=0.1))
TRAIN_STEP = jit_train_step(make_train_step(TASK, TX, NORMALIZER, ema_decay=0.9), MESH)


class Meter:
    """Weighs the arrays on all devices, less those that were there before, when told and after each step."""

    def __init__(self):
        gc.collect()
        gc.disable()  # what only the collector frees stays: a network's garbage may not fit
        self._before = self._live()
        self.mib = []

    def _live(self):
        return sum(array.nbytes for array in jax.live_arrays()) / 2**20

    def weigh(self):
        self.mib.append(self._live() - self._before)

    def train_step(self, *arguments):
        result = TRAIN_STEP(*arguments)
        self.weigh()
        return result


@pytest.fixture
def meter():
    yield Meter()
    gc.enable()


def run(directory, meter, **changes):
    made = []

    def new_state():
        made.append(1)
        return create_state(TASK, TX, NORMALIZER, jax.random.key(0), with_ema=True)

    settings = {
        "name": "student",
        "train_step": meter.train_step,
        "new_state": new_state,
        "state_shapes": jax.eval_shape(new_state),
        "schedule": lambda step: 0.01,
        "batches": make_stream,
        "num_steps": 5,
        "directory": directory,
        "mesh": MESH,
        "log_every": 1,
    }
    made.clear()
    return train(**{**settings, **changes}), len(made)


def assert_one_state(meter, num_steps):
    assert len(meter.mib) == num_steps
    np.testing.assert_array_less(STATE_MIB, meter.mib)
    np.testing.assert_array_less(meter.mib, STATE_MIB + SMALL_MIB)


def test_a_stage_holds_one_state(tmp_path, meter):
    _, num_made = run(tmp_path, meter)
    assert_one_state(meter, 5)
    assert num_made == 1


def test_a_stage_that_went_back_to_its_start_holds_one_state_made_again(tmp_path, meter):
    visits = []

    def batches(start_step):
        for step, (batch, image_ids) in enumerate(make_stream(start_step), start_step):
            visits.append(step)
            is_bad = step == 2 and visits.count(2) == 1
            yield batch._replace(images=np.full_like(batch.images, np.nan)) if is_bad else batch, image_ids

    state, num_made = run(tmp_path / "back", meter, batches=batches, max_rollbacks=1)
    assert visits == [0, 1, 2, 3, 0, 1, 2, 3, 4]
    assert num_made == 2
    assert_one_state(meter, 4 + 5)
    half, _ = run(tmp_path / "half", meter, schedule=lambda step: 0.005)
    assert_same(state, half)


def test_resuming_makes_no_state_and_needs_the_memory_of_one(tmp_path, meter, monkeypatch):
    whole, _ = run(tmp_path / "whole", meter)
    run(tmp_path / "cut", meter, num_steps=3)
    expected = jax.device_get(whole._replace(rng=jax.random.key_data(whole.rng)))
    del whole
    gc.collect()
    meter.mib.clear()
    restore, weights = checkpoint._restore_items, []

    def restore_items(*arguments):
        meter.weigh()
        weights.append(meter.mib.pop())
        return restore(*arguments)

    monkeypatch.setattr(checkpoint, "_restore_items", restore_items)
    resumed, num_made = run(tmp_path / "cut", meter)
    assert num_made == 0
    assert weights[0] < SMALL_MIB
    assert_one_state(meter, 2)
    assert_same(resumed._replace(rng=jax.random.key_data(resumed.rng)), expected)
