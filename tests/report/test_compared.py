"""Two controls, an oracle and patience in the report: the table against numbers by hand, words, curves."""

import json
from pathlib import Path

import pytest

from selftrain_jax.html.blocks import Note
from selftrain_jax.jobs.report import write_report
from selftrain_jax.report.curves import learning_curve
from selftrain_jax.report.page import progress
from selftrain_jax.report.results import (
    early_stops,
    fewer_human_images,
    known_gains,
    results_table,
    unequal_steps,
    unfinished_teacher,
)
from selftrain_jax.report.rounds import rounds_table
from selftrain_jax.report.variants import variants_table
from tests.compare_run import (
    rescore,
    write_base,
    write_compared,
    write_config,
    write_rounds,
    write_stop,
    write_variant,
)
from tests.html.html_page import Page
from tests.tasks.conftest import read_box_run

COLUMNS = {"AP": "ap", "AP50": "ap50"}


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    """Teacher 27.2, control 28.1, half control 30.2, oracle 35.2, student 31.2."""
    write_base(tmp_path)
    write_compared(tmp_path, control_half=0.302, oracle=0.352)
    return tmp_path


def rows_of(workdir: Path) -> dict[str, list[str]]:
    return {
        str(row[0]): [str(cell) for cell in row[1:3]]
        for row in results_table(read_box_run(workdir), COLUMNS).rows
    }


def test_the_table_has_every_arm_both_gains_and_the_share_by_metric(workdir: Path) -> None:
    assert rows_of(workdir) == {
        "teacher": ["27.2", "50.0"],
        "control": ["28.1", "50.0"],
        "control_half": ["30.2", "50.0"],
        "oracle": ["35.2", "50.0"],
        "student": ["31.2", "50.0"],
        "student over control": ["+3.1", "\u00b10.0"],
        "student over control_half, the stronger control": ["+1.0", "\u00b10.0"],
        "student over teacher": ["+4.0", "\u00b10.0"],
        "student's share of what the oracle gains": ["20 %", "undefined"],
    }


def test_the_first_line_and_the_badges_name_them(workdir: Path) -> None:
    page = Page(write_report(workdir, None, None).read_text(encoding="utf-8"))
    first = "Student 31.2 AP, +1.0 over control_half, +4.0 over teacher, 20 % of what the oracle gains"
    assert page.headings == [first]
    badges = [badge.name for badge in progress(read_box_run(workdir), "ap", "AP")]
    assert badges == ["Teacher", "Pseudo labels", "Control", "Half control", "Oracle", "Student"]


def test_every_arm_has_a_curve_and_gains_by_class(workdir: Path) -> None:
    run = read_box_run(workdir)
    (plot,) = learning_curve(run, "ap", "AP")
    lines = [
        line.get_label() for line in plot.figure.axes[0].lines if not str(line.get_label()).startswith("_")
    ]
    assert lines == ["teacher", "control", "control_half", "oracle", "student"]
    assert list(known_gains(run, "ap")) == ["control", "control_half", "teacher"]


def test_variants_and_rounds_are_held_against_the_stronger_control(workdir: Path) -> None:
    folder = write_variant(workdir, "a", 0.4)
    (folder / "control_half").symlink_to("../../control_half")
    rows = variants_table(read_box_run(workdir), "ap", "AP").rows
    assert [row[1:3] for row in rows] == [["31.2", "+1.0"], ["40.0", "+9.8"]]
    write_rounds(workdir, [0.25, 0.35], kept=2)
    names = [row[0] for row in rounds_table(read_box_run(workdir), "ap", "AP").rows]
    assert names == ["teacher", "round 1", "round 2, kept", "control"]
    write_compared(workdir / "round_2", oracle=0.4)
    assert rounds_table(read_box_run(workdir), "ap", "AP").rows[-1][:3] == ["oracle", "28.1", "40.0"]


def test_a_teacher_that_still_rises_is_told(workdir: Path) -> None:
    log = workdir / "teacher" / "metrics.jsonl"

    def write(*aps: float) -> None:
        rows = [{"step": 10 * number, "eval/ap": ap} for number, ap in enumerate(aps, 1)]
        log.write_text("".join(f"{json.dumps(row)}\n" for row in rows))

    write(0.1, 0.3, 0.305)
    assert unfinished_teacher(read_box_run(workdir), "ap", "AP") == []
    write(0.1, 0.2, 0.3)
    (note,) = unfinished_teacher(read_box_run(workdir), "ap", "AP")
    assert note.kind == "warning"
    assert note.text.startswith(
        "The teacher is not finished: on val its AP rose by 10.0 in its last quarter."
    )
    assert note.text in write_report(workdir, None, None).read_text(encoding="utf-8")


def test_a_student_without_a_gain_that_saw_fewer_human_images_is_told(workdir: Path) -> None:
    def write_sizes(of_student: int) -> None:
        student = {"batch_size": of_student, "pseudo_frac": 0.75}
        write_config(workdir, teacher={"batch_size": 16}, student=student)

    write_sizes(24)
    assert fewer_human_images(read_box_run(workdir), "ap") == []  # 31.2 against 30.2
    rescore(workdir / "student", 0.302)
    (note,) = fewer_human_images(read_box_run(workdir), "ap")
    assert note.text == (
        "The student gained nothing over control_half. It saw 6 human images a step, its teacher 16; in "
        "the paper both see as many. Try config.student.batch_size=64."
    )
    assert note.text in write_report(workdir, None, None).read_text(encoding="utf-8")
    write_sizes(64)
    assert fewer_human_images(read_box_run(workdir), "ap") == []


def test_stages_with_patience_say_where_they_stopped_and_unequal_steps_are_no_fault(workdir: Path) -> None:
    rescore(workdir / "student", 0.312, 20)
    assert len(unequal_steps(read_box_run(workdir))) == 2
    assert early_stops(read_box_run(workdir)) == []
    write_stop(workdir / "control", 30, 650)
    write_stop(workdir / "student", 25, 650)
    run = read_box_run(workdir)
    assert unequal_steps(run) == []
    stops = "control stopped at step 30 of at most 650, student stopped at step 25 of at most 650"
    assert early_stops(run) == [Note(f"Training ends where val has stopped rising: {stops}.")]
