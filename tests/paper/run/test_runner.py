"""Stages worked off by a starter that plays the commands: order, resuming, failures, the lock."""

import errno
import json
from pathlib import Path

import pytest

from configs import paper
from selftrain_jax.errors import InputError, RunAgainError, StagesFailedError
from selftrain_jax.paper.compare.results import read_results
from selftrain_jax.paper.plan.graph import Graph, find_result
from selftrain_jax.paper.rows import find_row
from selftrain_jax.paper.run.command import run_rows
from selftrain_jax.paper.run.page import PAGE_FILE
from selftrain_jax.run_files.diverged import mark_diverged
from selftrain_jax.run_files.lock import hold_folder
from tests.paper.run.fakes import Starter, flag_of, graph_of

TEACHER, LABELS, STUDENT = "teacher-08d2bf20", "labels-7029ee18", "student-8b4c8106"  # Table 3, row 5
OTHER = "teacher-6f96f7e0"  # Table 3, row 8, from ImageNet
START = "start-3cd50264"


def work_off(graph: Graph, runs: Path, **endings) -> Starter:
    starter = Starter(**endings)
    run_rows(graph, runs, start=starter)
    return starter


def fail(code: int):
    return lambda log: code


def diverge(log: Path) -> int:
    folder = log.with_suffix("")
    folder.mkdir()
    config = paper.get_config("table=figure2,row=12").to_dict()
    (folder / "config.json").write_text(json.dumps(config))
    mark_diverged(folder, "student")
    return 2


def test_a_row_is_worked_off_in_order_and_its_number_is_found(tmp_path: Path) -> None:
    starter = work_off(graph_of(("3", 5)), tmp_path)
    assert starter.seen == [TEACHER, LABELS, STUDENT]
    results = read_results(tmp_path)
    assert results.of_row(find_row("3", 5)) == {0: 40.0}
    assert results.of_row(find_row("3", 2)) == {0: 40.0}


def test_a_teacher_of_two_rows_is_trained_once(tmp_path: Path) -> None:
    starter = work_off(graph_of(("3", 2), ("3", 5)), tmp_path)
    assert starter.seen == [TEACHER, LABELS, STUDENT]


def test_a_start_comes_before_its_teacher_and_seeds_share_it(tmp_path: Path) -> None:
    starter = work_off(graph_of(("3", 8), seeds=(0, 1)), tmp_path)
    assert starter.seen[:2] == [START, OTHER]
    assert len(starter.seen) == 3


def test_what_is_finished_is_not_run_again(tmp_path: Path) -> None:
    work_off(graph_of(("3", 2)), tmp_path)
    assert work_off(graph_of(("3", 5)), tmp_path).seen == [LABELS, STUDENT]
    assert work_off(graph_of(("3", 5), ("3", 2)), tmp_path).seen == []


def test_a_search_is_one_command(tmp_path: Path) -> None:
    starter = work_off(graph_of(("9", 1)), tmp_path)
    assert [name.partition("-")[0] for name in starter.seen] == ["teacher", "labels", "search"]
    assert work_off(graph_of(("9", 1)), tmp_path).seen == []


def test_a_failure_leaves_what_does_not_depend_on_it_running(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two teachers are of the fake's revision; a start's folder names none."""
    monkeypatch.setattr("selftrain_jax.paper.run.command.code_revision", lambda: "abc")
    graph = graph_of(("3", 5), ("3", 8))
    starter = Starter(**{LABELS: fail(3)})
    with pytest.raises(StagesFailedError) as caught:
        run_rows(graph, tmp_path, start=starter)
    assert starter.seen == [TEACHER, LABELS, START, OTHER]
    assert str(caught.value) == (
        f"{tmp_path}: 5 stages, 3 done, 1 failed, 1 waiting for one that failed; 2 by other code, as status "
        "says\n"
        f"{LABELS} failed, {tmp_path}/{LABELS}.log ends:\n"
        f"  $ command\n  last words of {LABELS}\n"
        f"{STUDENT}: waiting for {LABELS}, which failed"
    )
    assert f"3/5 {STUDENT}: waiting for {LABELS}, which failed" in capsys.readouterr().out


def test_a_failed_stage_is_tried_again_by_the_next_run(tmp_path: Path) -> None:
    with pytest.raises(StagesFailedError):
        work_off(graph_of(("3", 5)), tmp_path, **{LABELS: fail(1)})
    assert work_off(graph_of(("3", 5)), tmp_path).seen == [LABELS, STUDENT]


def test_a_command_that_says_0_and_leaves_nothing_failed(tmp_path: Path) -> None:
    with pytest.raises(StagesFailedError, match=f"{TEACHER} failed"):
        work_off(graph_of(("3", 2)), tmp_path, **{TEACHER: fail(0)})


def test_a_full_disk_fails_its_stage_and_keeps_what_is_done(tmp_path: Path) -> None:
    with pytest.raises(StagesFailedError):
        work_off(graph_of(("3", 5)), tmp_path, **{STUDENT: fail(errno.ENOSPC)})
    assert (tmp_path / TEACHER / "summary.json").exists()
    assert work_off(graph_of(("3", 5)), tmp_path).seen == [STUDENT]


def test_a_loss_that_is_not_finite_is_a_result(tmp_path: Path) -> None:
    """Figure 2, row 12: the plain loss at alpha 4 diverges in the paper."""
    row = find_row("figure2", 12)
    assert row.value is None
    student = next(own for own in names_of("figure2", 12) if own.startswith("student"))
    starter = work_off(graph_of(("figure2", 12)), tmp_path, **{student: diverge})
    assert len(starter.seen) == 3
    assert read_results(tmp_path).of_row(row) == {0: None}
    assert work_off(graph_of(("figure2", 12)), tmp_path).seen == []


def names_of(table: str, row: int) -> list[str]:
    from selftrain_jax.paper.plan.graph import stage_id, with_inputs

    return [stage_id(stage) for stage in with_inputs(find_result(find_row(table, row)))]


def test_a_command_that_was_stopped_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(RunAgainError, match=f"{LABELS} was stopped"):
        work_off(graph_of(("3", 5)), tmp_path, **{LABELS: fail(75)})
    assert work_off(graph_of(("3", 5)), tmp_path).seen == [LABELS, STUDENT]


def test_flags_are_at_the_end_of_every_command(tmp_path: Path) -> None:
    starter = Starter()
    run_rows(graph_of(("3", 5)), tmp_path, ["--config.log.tensorboard=False"], start=starter)
    assert {command[-1] for command in starter.commands} == {"--config.log.tensorboard=False"}
    assert flag_of(starter.commands[2], "from_run") == f"{tmp_path}/{LABELS}"


def test_a_second_run_on_a_folder_is_refused(tmp_path: Path) -> None:
    starter = Starter()
    with hold_folder(tmp_path, "--runs"), pytest.raises(InputError, match="is in use by another run"):
        run_rows(graph_of(("3", 2)), tmp_path, start=starter)
    assert not starter.commands


def test_the_page_is_there_at_the_end_and_a_full_disk_does_not_matter_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    work_off(graph_of(("3", 2)), tmp_path)
    assert (tmp_path / PAGE_FILE).exists()
    monkeypatch.setattr("selftrain_jax.paper.run.command.write_status_page", refuse)
    assert work_off(graph_of(("3", 5)), tmp_path).seen == [LABELS, STUDENT]
