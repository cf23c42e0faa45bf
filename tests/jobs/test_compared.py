"""A run with both controls, an oracle and patience, end to end; and what is refused before it."""

import contextlib
import itertools
import json
import pathlib

import pytest
from ml_collections import ConfigDict

from selftrain_jax.build.data import build_batches, build_sources, human_images, stage_batch_size
from selftrain_jax.command_line import flatten
from selftrain_jax.errors import InputError
from selftrain_jax.jobs import run_job, selftrain
from selftrain_jax.jobs.options import Options
from selftrain_jax.jobs.plan import plan_run
from selftrain_jax.jobs.plan_text import describe_stages
from selftrain_jax.jobs.run import open_run
from selftrain_jax.jobs.stage_state import wanted_record
from selftrain_jax.run_files.arms import find_stronger_control
from selftrain_jax.stages.graph import Stage
from selftrain_jax.stages.records import read_record
from tests import tiny, tiny_masks

STAGES = ("teacher", "control", "control_half", "oracle", "student")


def make_config(**changes: object) -> ConfigDict:
    config = tiny.get_config()
    config.student.update(control="both", oracle=True, patience=1)
    config.teacher.patience = 1
    config.eval.update(every_steps=1, checkpoint="best")
    config.update_from_flattened_dict({key.replace("__", "."): value for key, value in changes.items()})
    return config


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    workdir = tmp_path_factory.mktemp("runs") / "compared"
    with (workdir.parent / "output.txt").open("w") as file, contextlib.redirect_stdout(file):
        run_job("selftrain", make_config(), workdir)
    return workdir


def summary_of(workdir: pathlib.Path) -> dict:
    return json.loads((workdir / "summary.json").read_text())


@pytest.mark.compiles
def test_every_arm_is_trained_from_the_teacher_and_summed_up(workdir: pathlib.Path) -> None:
    summary = summary_of(workdir)
    assert [name for name in summary if name in STAGES] == list(STAGES)
    teacher = read_record(workdir / "teacher")
    assert teacher is not None
    for name in STAGES[1:]:
        record = read_record(workdir / name)
        assert record is not None
        assert record.inputs["start"] == teacher.results["best"].digest
    ap = {name: summary[name]["ap"] for name in STAGES}
    control = find_stronger_control(ap)
    assert summary["stronger_control"] == control
    assert summary["gain_over_control"] == ap["student"] - ap[control]
    assert "oracle_share_percent" in summary


@pytest.mark.compiles
def test_a_stage_that_ended_early_is_finished_and_every_page_says_where(workdir: pathlib.Path) -> None:
    summary = summary_of(workdir)
    output, report = (workdir.parent / "output.txt").read_text(), (workdir / "report.html").read_text()
    for name in STAGES:
        record = read_record(workdir / name)
        assert record is not None
        last, best = record.results["last"].step, record.results["best"].step
        assert best <= last <= 6
        assert summary[name]["stopped"] == {"step": last, "at_most": 6}
        assert summary[name]["steps"] == best
        assert (
            f"{name}: at most 6 steps; ends when AP on val has not risen for 1 evaluations in a row" in output
        )
        assert f"stopped at step {last} of at most 6" in report
    assert min(summary[name]["stopped"]["step"] for name in STAGES) < 6
    assert "part of the gain" not in report.split('id="results"')[1].split("<section")[0]


@pytest.mark.compiles
def test_the_same_command_trains_nothing_again(workdir: pathlib.Path, capsys: pytest.CaptureFixture) -> None:
    run_job("selftrain", make_config(), workdir)
    output = capsys.readouterr().out
    assert all(f"{name}: finished before" in output for name in STAGES)
    assert "at most 6 steps" not in output


@pytest.mark.compiles
def test_the_plan_lists_the_arms_and_a_redone_oracle_leaves_the_others(workdir: pathlib.Path) -> None:
    run = open_run(make_config(), workdir, is_plan=True)
    planned = {stage.stage.folder: stage for stage in plan_run(run, Options(redo="oracle"))}
    order = ["teacher", "pseudo_labels", "control", "control_half", "oracle", "student"]
    assert list(planned) == order
    stopped = summary_of(workdir)["control"]["stopped"]
    assert planned["control"].note == f"stopped at step {stopped['step']} of at most 6"
    assert planned["control"].total == stopped["step"]
    text = {line.split()[0]: line for line in describe_stages(run, list(planned.values()))}
    assert " at most 6 " in text["oracle"]
    assert " at most 24 human " in text["oracle"]
    assert f" {stopped['step'] * 4} human " in text["control"]
    assert f"{summary_of(workdir)['control_half']['stopped']['step'] * 2} human" in text["control_half"]
    states = {name: stage.state for name, stage in planned.items()}
    assert states == {**dict.fromkeys(order, "done"), "oracle": "to do"}


@pytest.mark.compiles
def test_without_oracle_and_second_control_the_folder_stays_as_it_is(workdir: pathlib.Path) -> None:
    run = open_run(make_config(student__control="full", student__oracle=False), workdir, is_plan=True)
    planned = {stage.stage.folder: stage.state for stage in plan_run(run, Options())}
    assert planned == dict.fromkeys(["teacher", "pseudo_labels", "control", "student"], "done")


@pytest.mark.parametrize(
    ("is_measured", "trained"),
    [
        (True, ["teacher", "labels", "control", "control_half", "oracle", "student"]),
        (False, ["teacher", "labels", "student"]),
    ],
)
def test_a_search_leaves_controls_and_oracle_out(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, is_measured: bool, trained: list[str]
) -> None:
    begun: list[str] = []
    for name in ("train_stage", "label_stage"):
        monkeypatch.setattr(selftrain, name, lambda _, stage, **__: begun.append(stage.kind))
    selftrain.run_stages(open_run(make_config(), tmp_path, is_plan=True), is_measured=is_measured)
    assert begun == trained


def test_an_oracle_sees_all_images_with_their_human_labels() -> None:
    sources = build_sources(make_config())
    seen, truth = human_images(sources, "oracle"), sources.unlabeled_truth
    assert truth is not None
    assert seen.image_ids == (*sources.human.image_ids, *truth.image_ids)
    for index in range(len(truth)):
        found, expected = seen.read_labels(len(sources.human) + index), truth.read_labels(index)
        assert found["boxes"].tolist() == expected["boxes"].tolist()
    assert all(
        human_images(sources, name) is sources.human for name in ("teacher", "control", "control_half")
    )


def test_the_half_control_sees_the_human_images_of_the_student() -> None:
    config = make_config(student__batch_size=4)
    sources = build_sources(config)
    pseudo = sources.unlabeled_truth
    assert pseudo is not None
    ids = {}
    for name, labels in (("control_half", None), ("student", pseudo)):
        with contextlib.closing(build_batches(config, name, sources.human, labels)(0)) as stream:
            taken = list(itertools.islice(stream, 3))
        ids[name] = [
            [id for id, is_pseudo in zip(step_ids, batch.is_pseudo, strict=True) if not is_pseudo]
            for batch, step_ids in taken
        ]
    assert ids["control_half"] == ids["student"]
    assert [len(step) for step in ids["control_half"]] == [2, 2, 2]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"unlabeled__kind": "none"}, "but there are no unlabelled images"),
        (
            {"unlabeled__kind": "folder"},
            r"\(config.unlabeled.kind=folder\) have no labels of the classes of train",
        ),
        ({"student__control": "quarter"}, "'quarter' is not one of full, half, both, none"),
        (
            {"student__batch_size": 6},  # there are 2 devices
            "config.student.batch_size=6, config.student.control=both: half=3: batch 3 is not divisible by 2",
        ),
        ({"eval__every_steps": 0}, "config.teacher.patience=1, but config.eval.every_steps=0"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    tmp_path: pathlib.Path, changes: dict, words: str
) -> None:
    from PIL import Image

    (tmp_path / "images").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "images" / "a.png")
    config = make_config(**{"unlabeled__dir": str(tmp_path / "images"), **changes})
    with pytest.raises(InputError, match=words):
        open_run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_stage_that_was_not_asked_for_is_refused(tmp_path: pathlib.Path) -> None:
    run = open_run(make_config(student__oracle=False), tmp_path, is_plan=True)
    with pytest.raises(InputError, match=r"ask for one by --config\.student\.oracle=True"):
        wanted_record(run, Stage("oracle"))


@pytest.mark.parametrize("asked", [True, False, "half"])
def test_a_config_file_may_still_give_a_bool(asked: str | bool) -> None:
    config = make_config()
    config.student.control = asked
    assert flatten(json.loads(json.dumps(config.to_dict())))["student.control"] == asked


def test_an_odd_batch_has_no_half() -> None:
    config = make_config(student__batch_size=5)
    with pytest.raises(InputError, match=r"batch_size=5 has no half for config\.student\.control=both"):
        stage_batch_size(config, "control_half")
    assert stage_batch_size(config, "control") == stage_batch_size(config, "oracle") == 5


def test_an_oracle_of_masks_reads_the_masks_of_the_unlabelled_images() -> None:
    config = tiny_masks.get_config()
    config.student.oracle = True
    sources = build_sources(config)
    seen = human_images(sources, "oracle")
    assert len(seen) == len(sources.human) + len(sources.unlabeled_truth or ())
    assert (seen.read_labels(len(seen) - 1)["mask"] > 0).any()
