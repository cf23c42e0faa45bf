"""`--job=plan` in every state of the tiny run: the run then does what it said, and nothing is touched."""

import contextlib
import pathlib
import shutil
from typing import Any

import jax
import pytest
from ml_collections import ConfigDict

from selftrain_jax.build.data import build_sources
from selftrain_jax.errors import InputError
from selftrain_jax.jobs import evaluation, labels, run_job, training
from selftrain_jax.jobs.options import Options
from selftrain_jax.jobs.plan import plan_run
from selftrain_jax.jobs.plan_costs import state_shapes
from selftrain_jax.jobs.plan_states import LEFT_OUT, UNMEASURED, PlannedStage, plan_stages
from selftrain_jax.jobs.run import Run, open_run
from selftrain_jax.jobs.steering import variant_folder
from selftrain_jax.jobs.workdir import hold_workdir
from selftrain_jax.plan.disk import count_checkpoint_bytes, estimate_shard_bytes
from selftrain_jax.plan.memory import count_parameters
from selftrain_jax.run_files.stage import StageResult
from selftrain_jax.stages.graph import Stage
from selftrain_jax.train.checkpoint import restore_whole
from selftrain_jax.train.checkpoint_files import saved_steps
from tests import tiny
from tests.jobs.plan_situations import ALL, REFUSED, SITUATIONS, keep
from tests.tiny_run import run

pytestmark = pytest.mark.compiles


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    workdir = tmp_path_factory.mktemp("runs") / "finished"
    status, output = run(workdir)
    assert status == 0, output
    return workdir


@pytest.fixture
def workdir(finished: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    return shutil.copytree(finished, tmp_path / "run", symlinks=True)


class BeganError(Exception):
    """A stage began to compute."""


def make_config(settings: dict[str, Any]) -> ConfigDict:
    config = tiny.get_config()
    config.update_from_flattened_dict(settings)
    return config


def tree(folder: pathlib.Path) -> dict[str, tuple[int, int]]:
    """Every path below a folder's parent, with its time and size."""
    found = {str(path): path.lstat() for path in folder.parent.rglob("*")}
    return {name: (stat.st_mtime_ns, stat.st_size) for name, stat in found.items()}


def plan(workdir: pathlib.Path, settings: dict[str, Any], options: Options) -> list[PlannedStage]:
    return plan_run(open_planned(workdir, settings, options), options)


def open_planned(workdir: pathlib.Path, settings: dict[str, Any], options: Options) -> Run:
    folder = variant_folder(workdir, options.variant)
    return open_run(make_config(settings), folder, base=workdir, is_plan=True)


@pytest.fixture
def began(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The stage that began to compute, and from which step or image; it goes no further."""
    found: list[tuple[str, int]] = []

    def train(*, name: str, directory: pathlib.Path, **_: Any) -> None:
        found.append((name, max(saved_steps(directory), default=0)))
        raise BeganError

    def write(*, directory: pathlib.Path, **_: Any) -> None:
        name = str(directory).split("/run/")[1]
        found.append((name, 4 * len(list(directory.glob("pseudo-*.tfrecord")))))
        raise BeganError

    def evaluate(_: Run, stage: Stage, __: pathlib.Path) -> None:
        found.append((f"{stage.folder}, evaluation", 0))
        raise BeganError

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(evaluation, "_evaluate", evaluate)
    monkeypatch.setattr(labels, "write_pseudo_labels", write)
    return found


@pytest.mark.parametrize("name", SITUATIONS)
def test_plan_says_what_the_run_then_does_and_touches_nothing(
    name: str, workdir: pathlib.Path, began: list[tuple[str, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    change, settings, options, states, first = SITUATIONS[name]
    change(workdir)
    before = tree(workdir)
    planned = plan(workdir, settings, options)
    run_job("plan", make_config(settings), workdir, options)
    assert tree(workdir) == before
    assert all(stage.stage.folder in capsys.readouterr().out for stage in planned[:1])
    assert [(stage.state, stage.note if stage.state != "refused" else "") for stage in planned] == states
    left = next(((stage.stage.folder, stage.done) for stage in planned if stage.left), None)
    unmeasured = [(f"{stage.stage.folder}, evaluation", 0) for stage in planned if UNMEASURED in stage.note]
    if REFUSED in states:
        refused = next(stage for stage in planned if stage.state == "refused")
        with pytest.raises(InputError, match=refused.stage.folder) as error:
            run_job("selftrain", make_config(settings), workdir, options)
        assert all(pair.key in str(error.value) for pair in refused.differences[:9])
        return
    assert (left or next(iter(unmeasured), None)) == first
    with contextlib.suppress(BeganError):
        run_job("selftrain", make_config(settings), workdir, options)
    assert began == ([first] if first else [])


def test_every_difference_of_every_stage_is_listed(workdir: pathlib.Path) -> None:
    settings = {"model.head_channels": 8, "selftrain.alpha": 2.0, "teacher.steps": 7}
    found = {stage.stage.folder: stage.differences for stage in plan(workdir, settings, Options())}
    keys = {folder: {pair.key for pair in pairs} for folder, pairs in found.items()}
    assert keys["teacher"] == {"config.model.head_channels", "config.teacher.steps"}
    assert keys["pseudo_labels"] == keys["control"] == {"config.model.head_channels"}
    assert keys["student"] == {"config.model.head_channels", "config.selftrain.alpha"}
    assert ("config.selftrain.alpha", 1.0, 2.0) in found["student"]


def test_stages_of_another_run_are_taken(finished: pathlib.Path, tmp_path: pathlib.Path) -> None:
    workdir = tmp_path / "run"
    planned = plan(workdir, {}, Options(from_run=str(finished)))
    assert [stage.state for stage in planned] == ["shared", "shared", "to do", "to do"]
    assert planned[0].note == f"taken from {finished / 'teacher'}"
    assert not workdir.exists()


def test_works_while_a_run_holds_the_folder(
    workdir: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["selftrain_jax/main.py", "--config=tests/tiny.py", f"--workdir={workdir}"]
    monkeypatch.setattr("sys.argv", [*command, "--job=plan", "--measure=false"])
    with hold_workdir(workdir):
        run_job("plan", make_config({}), workdir)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == " ".join(["python -m selftrain_jax.main", *command[1:]])


def test_rounds_after_one_that_was_worse_are_left_out(
    workdir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vals = {1: 0.3, 2: 0.2}

    def result_of(_: Run, stage: Stage) -> StageResult | None:
        is_there = stage.kind == "student" and stage.round in vals
        return StageResult(digest="0", val=vals[stage.round]) if is_there else None

    monkeypatch.setattr("selftrain_jax.jobs.plan_states.result_of", result_of)
    run = open_planned(workdir, {"selftrain.rounds": 3}, Options())
    states = {stage.stage.folder: stage.state for stage in plan_stages(run)}
    assert states["round_3/pseudo_labels"] == states["round_3/student"] == LEFT_OUT
    assert states["round_2/control"] == "to do"
    assert "round_3/control" not in states


def test_damaged_record_is_refused_in_its_own_line(workdir: pathlib.Path) -> None:
    (workdir / "control" / "stage.json").write_text("{")
    found = {stage.stage.folder: stage for stage in plan(workdir, {}, Options())}
    assert [found[name].state for name in ALL] == ["done", "done", "refused", "done"]
    assert "control/stage.json" in found["control"].note


def test_missing_data_are_the_usual_error(tmp_path: pathlib.Path) -> None:
    config = make_config({"data.kind": "coco", "data.dir": str(tmp_path / "none")})
    with pytest.raises(InputError, match="none"):
        run_job("plan", config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_sizes_are_those_of_the_files(finished: pathlib.Path) -> None:
    run = open_planned(finished, {}, Options())
    state = state_shapes(run)
    variables = restore_whole(finished / "teacher", "last")
    assert count_parameters(state) == sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    saved = sum(
        path.stat().st_size
        for path in (finished / "teacher" / "checkpoints" / "6").rglob("*")
        if path.is_file()
    )
    assert count_checkpoint_bytes(state) == pytest.approx(saved, rel=0.2)
    shards = sum(path.stat().st_size for path in (finished / "pseudo_labels").glob("*.tfrecord"))
    source = build_sources(run.config).unlabeled
    assert source is not None
    found = estimate_shard_bytes(source, lambda size_px: run.self_training.label_bytes(run.config, size_px))
    assert found == pytest.approx(shards, rel=0.2)


def test_measure_times_steps_and_labels_and_writes_nothing(
    workdir: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep("teacher")(workdir)
    before = tree(workdir)
    run_job("plan", make_config({}), workdir, Options(measure=True))
    output = capsys.readouterr().out
    assert tree(workdir) == before
    assert output.count("images/s (10 steps now)") == 2  # control and student
    assert output.count("images/s (10 batches now)") == 1
    assert "on each device as compiled" in output
    assert "unknown" not in output
