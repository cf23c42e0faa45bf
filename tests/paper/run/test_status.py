"""What `status` prints and its page, of a folder in every state."""

import json
import os
import time
from pathlib import Path

import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.paper.plan.graph import stage_id
from selftrain_jax.paper.run.command import run_rows, show_status
from selftrain_jax.paper.run.commands import list_stages
from selftrain_jax.paper.run.logs import log_path
from selftrain_jax.paper.run.page import write_status_page
from selftrain_jax.paper.run.selection import add_rows, read_rows
from selftrain_jax.paper.run.states import read_progress, read_states
from selftrain_jax.paper.run.status import format_status
from selftrain_jax.run_files.diverged import mark_diverged
from selftrain_jax.run_files.lock import hold_folder
from tests.paper.run.fakes import CODE, Starter, graph_of, leave, write_record

GRAPH = graph_of(("3", 5), ("3", 6), ("3", 8), ("figure2", 12))


def mark_failed(runs: Path, name: str) -> None:
    (runs / f"{name}.log").write_text("$ python\nreading\n\nerror: there is no \x1b[1mfile\nexit code 2\n")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Row 5's teacher is done and its labels run, row 6's failed, row 8 waits, the teacher's of figure 2."""
    add_rows(tmp_path, GRAPH.runs)
    leave(["--config=p:table=3,row=2,seed=0", f"--workdir={tmp_path}/teacher-08d2bf20"])
    names = [stage_id(stage) for stage in list_stages(GRAPH.runs)]
    mark_failed(tmp_path, names[3])
    diverged = names[-3]
    (tmp_path / diverged).mkdir()
    mark_diverged(tmp_path / diverged, "teacher")
    return tmp_path


def cells_of(text: str) -> dict[str, str]:
    """The state of each stage by its name, without what the stage is."""
    lines = [line.strip().split("  ") for line in text.splitlines() if line.startswith("  ") and "-" in line]
    return {cells[0]: next(cell for cell in cells[1:] if cell).strip() for cells in lines}


def test_status_says_what_every_stage_is_doing(runs: Path) -> None:
    teacher, labels, student, teacher6, labels6, student6, start8, teacher8, *figure = [
        stage_id(stage) for stage in list_stages(GRAPH.runs)
    ]
    with hold_folder(runs / labels, "--workdir"):
        text = format_status(read_states(list_stages(GRAPH.runs), runs), runs, "abc")
    assert text.splitlines()[0] == (
        f"{runs}: 11 stages, 1 done, 1 diverged, 1 running, 1 failed, 4 waiting for one that failed, "
        "3 waiting"
    )
    assert cells_of(text) == {
        teacher: f"done, by code {CODE}, not abc",
        labels: "running",
        student: f"waiting for {labels}",
        teacher6: "failed",
        labels6: f"waiting for {teacher6}, which failed",
        student6: f"waiting for {teacher6}, which failed",
        start8: "waiting for its turn",
        teacher8: f"waiting for {start8}",
        figure[0]: "diverged",
        figure[1]: f"waiting for {figure[0]}, which diverged",
        figure[2]: f"waiting for {figure[0]}, which diverged",
    }
    assert text.splitlines()[-4:] == [
        f"{teacher6} failed, {runs}/{teacher6}.log ends:",
        "  $ python",
        "  reading",
        "  error: there is no \\x1b[1mfile",
    ]


def test_a_line_has_the_stage_in_words(tmp_path: Path) -> None:
    graph = graph_of(("3", 2))
    assert format_status(read_states(list_stages(graph.runs), tmp_path), tmp_path, "") == (
        f"{tmp_path}: 1 stage, 1 waiting\n"
        "  teacher-08d2bf20  waiting for its turn  coco_retinanet efficientnet_b7 S4, 50%, from random, "
        "90,000 steps, seed 0"
    )


def write_metrics(folder: Path, step: int, eta_secs: float, **steps: int) -> None:
    write_record(folder, "", **steps)
    rows = [{"step": step, "speed/eta_secs": eta_secs}, {"step": step + 1, "eval/ap": 0.1}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_training_that_runs_says_the_time_that_is_left(tmp_path: Path) -> None:
    """At step 200 of 1000 it took 7,200 s more, 9 s a step: 799 steps are 7,191 s, of which 60 are over."""
    graph = graph_of(("3", 2))
    (stage,) = list_stages(graph.runs)
    folder = tmp_path / stage_id(stage)
    write_metrics(folder / "teacher", 200, 7200.0, **{"teacher.steps": 1000})
    past = time.time() - 60
    os.utime(folder / "teacher/metrics.jsonl", (past, past))
    with hold_folder(folder, "--workdir"):
        text = format_status(read_states([stage], tmp_path), tmp_path, "")
    assert "running, step 201 of 1,000, 1 h 58 min left" in text


def test_a_search_counts_the_steps_of_all_its_students(tmp_path: Path) -> None:
    """Six students of 100 steps; 100 and 51 are done, 49 steps took 98 s more: 449 steps of 2 s are left."""
    stage = list_stages(graph_of(("9", 1)).runs)[-1]
    folder = tmp_path / stage_id(stage)
    write_metrics(folder / "variants/alpha=0.25/student", 99, 2.0, **{"student.steps": 100})
    past = time.time() - 500
    os.utime(folder / "variants/alpha=0.25/student/metrics.jsonl", (past, past))
    write_metrics(folder / "variants/alpha=0.5/student", 50, 100.0, **{"student.steps": 100})
    progress = read_progress(stage, tmp_path)
    assert progress is not None
    assert progress[:2] == (151, 600)
    assert progress.left_secs == pytest.approx(449 * 2, abs=5)


def test_what_a_runner_is_at_runs_and_an_older_log_without_an_end_does_not(tmp_path: Path) -> None:
    teacher, labels, _ = stages = list_stages(graph_of(("3", 5)).runs)
    for stage, age in ((teacher, 100), (labels, 0)):
        path = log_path(stage, tmp_path)
        path.write_text("$ python\n")
        os.utime(path, (time.time() - age,) * 2)
    assert [own.kind for own in read_states(stages, tmp_path).values()] == ["waiting"] * 3
    with hold_folder(tmp_path, "--runs"):
        assert [own.kind for own in read_states(stages, tmp_path).values()] == [
            "waiting",
            "running",
            "waiting",
        ]


def test_a_command_that_was_stopped_waits(tmp_path: Path) -> None:
    (stage,) = list_stages(graph_of(("3", 2)).runs)
    log_path(stage, tmp_path).write_text("$ python\nexit code 75\n")
    assert read_states([stage], tmp_path)[stage].kind == "waiting"


def test_the_page_shows_the_same(runs: Path) -> None:
    states = read_states(list_stages(GRAPH.runs), runs)
    page = write_status_page(states, runs, "abc").read_text()
    assert all(stage_id(stage) in page for stage in states)
    assert "error: there is no \\x1b[1mfile" in page
    assert "which diverged" in page
    assert "by code 0123456789ab, not abc" in page


def test_rows_of_several_runs_are_remembered_once(tmp_path: Path) -> None:
    add_rows(tmp_path, graph_of(("3", 5)).runs)
    add_rows(tmp_path, graph_of(("3", 5), ("9", 1), seeds=(0, 1)).runs)
    found = [(run.row.table, run.row.row, run.seed) for run in read_rows(tmp_path)]
    assert found == [("3", 5, 0), ("3", 5, 1), ("9", 1, 0), ("9", 1, 1)]
    (tmp_path / "rows.json").write_text('[{"table": 3}]')
    with pytest.raises(InputError, match="expected table, row and seed"):
        read_rows(tmp_path)


def test_show_status_writes_the_page(tmp_path: Path) -> None:
    run_rows(graph_of(("3", 2)), tmp_path, start=Starter())
    (tmp_path / "status.html").unlink()
    assert show_status(tmp_path).startswith(f"{tmp_path}: 1 stage, 1 done\n")
    assert (tmp_path / "status.html").exists()
