"""A stage that an older version began goes on in its way: order of examples, average of weights."""

import types

import pytest

from selftrain_jax.data.sampling import generator_permutation, raw_permutation
from selftrain_jax.jobs import training
from selftrain_jax.run_files.stage import StageRecord
from selftrain_jax.stages.graph import TEACHER, Stage
from selftrain_jax.stages.records import METHODS, OLD_METHODS
from tests import tiny


def record(methods: dict[str, str]) -> StageRecord:
    return StageRecord(stage="teacher", settings={}, inputs={}, methods=methods, versions={}, results={})


@pytest.fixture
def run() -> types.SimpleNamespace:
    """What training reads of a run, without a network."""
    human = types.SimpleNamespace(categories=("a class",))
    sources = types.SimpleNamespace(human=human)
    return types.SimpleNamespace(
        config=tiny.get_config(), sources=sources, joint=None, experiment="the run's"
    )


@pytest.mark.parametrize(
    ("methods", "permutation"), [(METHODS, raw_permutation), (OLD_METHODS, generator_permutation)]
)
def test_the_order_of_examples_is_the_one_that_the_stage_began_with(
    run, monkeypatch: pytest.MonkeyPatch, methods: dict[str, str], permutation
) -> None:
    asked: dict[str, object] = {}
    monkeypatch.setattr(training, "build_batches", lambda *_, **options: asked.update(options))
    training._batches(run, TEACHER, record(methods))
    assert asked == {"round": 1, "permutation": permutation}


def test_the_average_is_the_one_that_the_stage_began_with(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "build_experiment", lambda *_, **options: options)
    assert training._experiment(run, record(METHODS)) == "the run's"
    assert training._experiment(run, record(OLD_METHODS)) == {"ema_ramp": False}


def test_a_control_has_the_steps_of_all_rounds(run) -> None:
    steps = {round: training.stage_schedule(run, Stage("control", round))[1] for round in (1, 2, 3)}
    assert steps == {1: 6, 2: 12, 3: 18}
    assert run.config.student.steps == 6
    assert training.stage_schedule(run, Stage("student", 3))[1] == 6
