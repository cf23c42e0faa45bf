"""Stages are shared by links and moved aside; nothing is copied and nothing is lost."""

import pathlib

import pytest

from selftrain_jax.io import write_json
from selftrain_jax.stages.folders import (
    is_shared,
    move_aside,
    move_measurements_aside,
    share,
    shared_with,
)
from selftrain_jax.stages.graph import TEACHER, Stage


@pytest.fixture
def run(tmp_path: pathlib.Path) -> pathlib.Path:
    """A run of a teacher and a student, as files."""
    for stage in ("teacher", "student"):
        (tmp_path / stage / "checkpoints/6").mkdir(parents=True)
        (tmp_path / stage / "checkpoints/6/weights").write_text(f"weights of the {stage}")
        for name in ("stage.json", "evaluation.json", "evaluation_stage.json", "detections.json"):
            write_json(tmp_path / stage / name, {"of": stage})
    return tmp_path


def test_a_shared_stage_reads_like_its_own_and_holds_no_copy(run: pathlib.Path) -> None:
    target = run / "variants/a/teacher"
    share(run / "teacher", target)
    assert (target / "checkpoints/6/weights").read_text() == "weights of the teacher"
    assert all(entry.is_symlink() and not entry.readlink().is_absolute() for entry in target.iterdir())
    assert is_shared(target)
    assert not is_shared(run / "teacher")
    assert shared_with(target) == run / "teacher"
    run.rename(run.with_name("moved"))  # links are relative: the run moves as one
    moved = run.with_name("moved") / "variants/a/teacher"
    assert (moved / "checkpoints/6/weights").read_text() == "weights of the teacher"


def test_what_is_measured_anew_replaces_the_link_and_not_the_file(run: pathlib.Path) -> None:
    target = run / "variants/a/teacher"
    share(run / "teacher", target)
    write_json(target / "evaluation.json", {"of": "the variant"})
    assert '"teacher"' in (run / "teacher/evaluation.json").read_text()
    assert '"the variant"' in (target / "evaluation.json").read_text()


def test_a_stage_measured_otherwise_is_shared_without_its_evaluation(run: pathlib.Path) -> None:
    share(run / "teacher", run / "variants/a/teacher", measured=False)
    assert sorted(entry.name for entry in (run / "variants/a/teacher").iterdir()) == [
        "checkpoints",
        "stage.json",
    ]


def test_sharing_that_was_killed_is_repeated(run: pathlib.Path) -> None:
    target = run / "variants/a/teacher"
    share(run / "teacher", target)
    (target / "stage.json").unlink()  # it comes last
    assert not is_shared(target)
    share(run / "teacher", target)
    assert is_shared(target)


def test_stages_are_moved_aside_under_the_next_free_number(run: pathlib.Path) -> None:
    assert move_aside(run, [Stage("student")]) == [run / "student.1"]
    assert (run / "student.1/checkpoints/6/weights").read_text() == "weights of the student"
    assert not (run / "student").exists()
    (run / "student").mkdir()
    assert move_aside(run, [Stage("student"), Stage("control")]) == [run / "student.2"]


def test_variants_keep_what_was_moved_aside(run: pathlib.Path) -> None:
    share(run / "teacher", run / "variants/a/teacher")
    share(run / "student", run / "variants/a/round_2/student")
    move_aside(run, [TEACHER, Stage("student")])
    for folder, stage in (("teacher", "teacher"), ("round_2/student", "student")):
        shared = run / "variants/a" / folder
        assert (shared / "checkpoints/6/weights").read_text() == f"weights of the {stage}"
        assert shared_with(shared) == run / f"{stage}.1"


def test_measurements_are_moved_aside_and_weights_stay(run: pathlib.Path) -> None:
    moved = move_measurements_aside(run / "student")
    assert [path.name for path in moved] == [
        "detections.json.1",
        "evaluation.json.1",
        "evaluation_stage.json.1",
    ]
    assert (run / "student/checkpoints/6/weights").exists()
    write_json(run / "student/evaluation.json", {})
    assert [path.name for path in move_measurements_aside(run / "student")] == ["evaluation.json.2"]
