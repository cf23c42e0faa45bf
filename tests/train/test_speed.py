import numpy as np
import pytest

from selftrain_jax.cost.meter import Meter
from selftrain_jax.train import metric_log as module
from selftrain_jax.train.metric_log import Speed
from selftrain_jax.types import Batch, BoxTargets
from tests.cost.fakes import devices_of

EMPTY, USED = np.zeros((1, 1), bool), np.ones((1, 1), bool)
TARGETS = BoxTargets(np.zeros((1, 1, 4)), np.zeros((1, 1), int), USED, EMPTY)
BATCH = Batch(np.zeros((1, 8, 8, 3)), TARGETS, np.zeros(1, bool))


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until the test moves it."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def stream(clock, secs):
    while True:
        clock[0] += secs
        yield BATCH, ["a"]


@pytest.mark.parametrize(("is_idle", "share"), [(True, 0.25), (False, 0.0)])
def test_a_fetch_is_a_wait_only_when_the_devices_have_run_out_of_work(clock, is_idle, share):
    speed = Speed()
    batches = stream(clock, 0.5)
    for _ in range(3):
        assert speed.fetch(batches, lambda: is_idle)[1] == ["a"]
        clock[0] += 1.5
        speed.count(16)
    metrics = speed.metrics(steps_left=6)
    assert metrics["speed/data_wait_share"] == share
    assert metrics["speed/images_per_second"] == 8
    assert metrics["speed/eta_secs"] == 12


def test_pauses_count_for_training_time_and_not_for_speed(clock):
    speed = Speed(earlier_secs=100.0)
    with speed.pause():
        clock[0] += 50
    clock[0] += 2
    speed.count(16)
    assert speed.metrics(steps_left=0)["speed/images_per_second"] == 8
    assert speed.training_secs == 152


def test_the_meter_is_told_what_the_time_went_into(clock):
    """Fetched 1 s idle and 1 s not; trained 2 s; paused 3 s, then saved and paused for 2 s more."""
    meter = Meter(devices_of("cpu", 2))
    speed = Speed(meter=meter)
    batches = stream(clock, 1)
    speed.fetch(batches, lambda: True)
    speed.fetch(batches, lambda: False)
    clock[0] += 2
    speed.count(12)
    with speed.pause():
        clock[0] += 3
        saved = speed.cost()
        clock[0] += 2
    found = saved.summarize()
    assert saved.device_seconds == {"cpu": 2 * 7}
    assert (found.waiting_share, found.evaluating_share) == (round(1 / 7, 4), round(3 / 7, 4))
    assert found.images_per_device_second == 12 / (2 * 4)
    assert meter.cost().evaluating_device_seconds == 2 * 5
