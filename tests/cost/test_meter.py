import pytest

from selftrain_jax.cost.compiling import EVENTS
from selftrain_jax.cost.meter import Meter
from selftrain_jax.run_files.cost import Cost
from tests.cost.fakes import Clock, devices_of


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def spend(meter, clock, part, secs, compiling_secs=0.0):
    """Let time pass, at the end of it a compilation."""
    clock.pass_secs(secs)
    if compiling_secs:
        meter.compilations.record(EVENTS[-1], float(compiling_secs))
    meter.count_time(part)


def train_a_little(meter, clock):
    """10 s: 1 waiting, 4 + 2 compiling (of those 2 in an evaluation), 1 evaluating, 2 training."""
    spend(meter, clock, "waiting", 1)
    spend(meter, clock, "working", 6, compiling_secs=4)
    spend(meter, clock, "evaluating", 3, compiling_secs=2)
    meter.count_images(90)


def test_time_is_divided_into_parts_that_exclude_each_other(clock):
    meter = Meter(devices_of("TPU v4", 2))
    train_a_little(meter, clock)
    assert meter.cost() == Cost(
        device_seconds={"TPU v4": 20},
        images=90,
        waiting_device_seconds=2,
        compiling_device_seconds=12,
        evaluating_device_seconds=2,
        energy_joules=None,
    )
    found = meter.cost().summarize()
    assert (found.waiting_share, found.compiling_share, found.evaluating_share) == (0.1, 0.6, 0.1)
    assert found.images_per_device_second == 15  # 90 in 2 + 1 s of two devices


def test_a_run_resumed_on_other_devices_adds_up_by_kind(clock):
    first = Meter(devices_of("TPU v4", 2))
    train_a_little(first, clock)
    clock.pass_secs(1e6)  # nothing ran
    second = Meter([*devices_of("TPU v4", 1), *devices_of("cpu", 3)], first.cost())
    train_a_little(second, clock)
    found = second.cost()
    assert found.device_seconds == {"TPU v4": 20 + 10, "cpu": 30}
    assert found.images == 180
    assert found.compiling_device_seconds == 12 + 4 * 6
    assert found.summarize().images_per_device_second == 180 / (3 * (2 + 4))


def test_what_came_before_stays_unknown(clock):
    meter = Meter(devices_of("cpu", 1), earlier=None)
    train_a_little(meter, clock)
    assert meter.cost() is None


def test_compiling_never_exceeds_the_time_that_has_passed(clock):
    """JAX's clock is not the meter's."""
    meter = Meter(devices_of("cpu", 1))
    spend(meter, clock, "working", 2, compiling_secs=2.001)
    assert meter.cost().device_seconds == {"cpu": 2}
    assert meter.cost().compiling_device_seconds == 2
