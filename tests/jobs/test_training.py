"""A stage that an older version began goes on in its way: order of examples, average of weights."""

import json
import pathlib

import pytest

from selftrain_jax.build.experiment import Experiment
from selftrain_jax.data.sampling import Permutation, generator_permutation, raw_permutation
from selftrain_jax.jobs import training
from selftrain_jax.jobs.divergence import marked_if_diverged
from selftrain_jax.jobs.run import Run, open_run
from selftrain_jax.run_files.diverged import DIVERGED_FILE
from selftrain_jax.run_files.stage import StageRecord
from selftrain_jax.stages.graph import TEACHER, Stage
from selftrain_jax.stages.records import METHODS, OLD_METHODS
from selftrain_jax.train.loop import NonFiniteLossError
from selftrain_jax.train.sharding import shard_batch
from selftrain_jax.types import Batches
from tests import tiny


def record(methods: dict[str, str]) -> StageRecord:
    return StageRecord(stage="teacher", settings={}, inputs={}, methods=methods, versions={}, results={})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return open_run(tiny.get_config(), tmp_path_factory.mktemp("training"), is_plan=True)


@pytest.mark.parametrize(
    ("methods", "permutation"), [(METHODS, raw_permutation), (OLD_METHODS, generator_permutation)]
)
def test_the_order_of_examples_is_the_one_that_the_stage_began_with(
    run: Run, monkeypatch: pytest.MonkeyPatch, methods: dict[str, str], permutation: Permutation
) -> None:
    asked: dict[str, object] = {}

    def build(*_: object, **options: object) -> Batches:
        asked.update(options)
        return lambda start_step: iter(())

    monkeypatch.setattr(training, "build_batches", build)
    training._batches(run, TEACHER, record(methods))
    assert asked.pop("place").func is shard_batch
    assert asked == {"round": 1, "permutation": permutation}


def test_the_average_is_the_one_that_the_stage_began_with(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    def build(*_: object, **options: object) -> Experiment:
        asked.update(options)
        return run.experiment

    monkeypatch.setattr(training, "build_experiment", build)
    assert training._experiment(run, TEACHER, record(METHODS)) is run.experiment
    assert asked == {}
    training._experiment(run, TEACHER, record(OLD_METHODS))
    assert asked == {"ema_ramp": False, "stage": "teacher"}


def test_a_loss_that_is_not_finite_leaves_a_file_that_says_so_until_it_is_tried_again(run: Run) -> None:
    path = run.workdir / DIVERGED_FILE
    with pytest.raises(NonFiniteLossError), marked_if_diverged(run, Stage("student")):
        raise NonFiniteLossError(3, "student: not finite at step 3")
    assert json.loads(path.read_text()) == {"stage": "student"}
    with marked_if_diverged(run, Stage("student")):
        assert not path.exists()
    assert not path.exists()


def test_stages_that_compute_the_same_share_one_step(tmp_path: pathlib.Path) -> None:
    def steps(batch_norm: str) -> list[object]:
        config = tiny.get_config()
        config.student.batch_norm = batch_norm
        run = open_run(config, tmp_path, is_plan=True)
        return [run.experiment_of(kind).train_step for kind in ("teacher", "control", "student")]

    (teacher, control, student) = steps("batch")
    assert teacher is control is student
    (teacher, control, student) = steps("human")
    assert teacher is control is not student
    (teacher, control, student) = steps("frozen")
    assert teacher is not control is student


def test_a_control_has_the_steps_of_all_rounds(run: Run) -> None:
    steps = {round: training.stage_schedule(run, Stage("control", round))[1] for round in (1, 2, 3)}
    assert steps == {1: 6, 2: 12, 3: 18}
    assert run.config.student.steps == 6
    assert training.stage_schedule(run, Stage("student", 3))[1] == 6
