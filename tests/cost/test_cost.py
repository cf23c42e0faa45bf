"""Counters and their summary; that files are read back is in tests/test_run_files.py."""

import json
import pathlib

import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.run_files.cost import NO_COST, Cost, CostSummary, sum_costs
from tests.run_files import COST

PATH = pathlib.Path("run/teacher/checkpoints/30")


def a_cost(**changes):
    return Cost.from_json({**COST, "waiting_device_seconds": 2, **changes}, PATH)


def a_summary(seconds, **changes):
    shares = {"waiting_share": 0.5, "compiling_share": 0.25, "evaluating_share": 0.0, "energy_joules": 8.0}
    return CostSummary(device_seconds=seconds, **{**shares, **changes})


def test_a_checkpoint_is_read_back_and_one_without_a_cost_has_none():
    assert json.loads(json.dumps(a_cost().to_json())) == {**COST, "waiting_device_seconds": 2}
    assert Cost.from_json(None, PATH) is None
    with pytest.raises(InputError, match="checkpoints/30: images is -1; expected a whole number"):
        a_cost(images=-1)


def test_nothing_is_neutral_and_unknown_stays_unknown():
    assert NO_COST.add(a_cost()) == a_cost()
    found = a_cost().add(a_cost(energy_joules=None, waiting_device_seconds=None))
    assert found.energy_joules is found.waiting_device_seconds is None
    assert found.device_seconds == {"TPU v4": 80, "cpu": 50}


def test_a_stage_without_time_has_no_shares_and_no_speed():
    found = NO_COST.summarize()
    assert found.waiting_share is found.compiling_share is found.images_per_device_second is None


def test_a_run_is_the_sum_of_its_stages_weighted_by_their_device_seconds():
    """Waiting 0.5 of 30 and nothing of 10, which was not measured; compiling 0.25 of 30 and 1 of 10."""
    labels = a_summary({"cpu": 10}, waiting_share=None, compiling_share=1.0)
    found = sum_costs([a_summary({"cpu": 10, "H100": 20}), labels])
    assert found.device_seconds == {"cpu": 20, "H100": 20}
    assert (found.waiting_share, found.compiling_share, found.evaluating_share) == (0.375, 0.4375, 0)
    assert found.energy_joules == 16


def test_a_run_is_unknown_where_a_stage_is():
    assert sum_costs([]) is None
    assert sum_costs([a_summary({"cpu": 10}), None]) is None
    assert (
        sum_costs([a_summary({"cpu": 10}), a_summary({"cpu": 1}, energy_joules=None)]).energy_joules is None
    )
