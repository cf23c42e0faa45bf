"""The section of rounds, and what the other sections show of a run in rounds."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.html.blocks import Note, Table
from selftrain_jax.jobs.report import write_report
from selftrain_jax.report import rounds
from selftrain_jax.report.curves import learning_curve
from selftrain_jax.report.page import comparison_sections
from selftrain_jax.report.results import unequal_steps
from selftrain_jax.tasks.segmentation.draw import mask_path, read_mask_png
from selftrain_jax.tasks.segmentation.report.sections import read_predicted
from tests.compare_run import rescore, write_base, write_config, write_rounds
from tests.html.html_page import Page
from tests.tasks.conftest import read_box_run, write_json
from tests.tasks.segmentation.report.mask_run import write_mask_workdir


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    write_base(tmp_path)
    write_rounds(tmp_path, [0.25, 0.35, 0.3], kept=2, stopped_early=True)
    return tmp_path


def section_of(workdir: Path):
    (section,) = comparison_sections(read_box_run(workdir), "ap", "AP")
    assert section.key == "rounds"
    return section


def test_the_table_has_every_round_the_teacher_before_and_the_control_of_all_steps(workdir: Path) -> None:
    table, note, *_ = section_of(workdir).blocks
    assert isinstance(table, Table)
    labels = ["60", "0.500", "0.500"]
    assert [table.header, *table.rows] == [
        ["", "AP on val", "AP on test", "steps", "labels (boxes)", "precision", "recall"],
        ["teacher", "27.2", "27.2", "30", "", "", ""],
        ["round 1", "25.0", "31.2", "30", *labels],
        ["round 2, kept", "35.0", "36.0", "30", *labels],
        ["round 3", "30.0", "31.0", "30", *labels],
        ["control", "\u2013", "30.0", "90", "", "", ""],
    ]
    assert table.strong_rows == [2]
    assert isinstance(note, Note)
    assert note.text.startswith("Stopped after round 3")
    assert note.text.endswith("The student of round 2 is the result.")


def test_scores_are_drawn_over_rounds_with_the_control_as_a_line(workdir: Path) -> None:
    (plot,) = rounds.score_by_round(read_box_run(workdir), "ap", "AP")
    val, test, control, ring = plot.figure.axes[0].lines
    np.testing.assert_allclose(test.get_xdata(), [0, 1, 2, 3])
    np.testing.assert_allclose(test.get_ydata(), [27.2, 31.2, 36.0, 31.0])
    np.testing.assert_allclose(val.get_ydata(), [27.2, 25.0, 35.0, 30.0])
    np.testing.assert_allclose(control.get_ydata(), [30.0, 30.0])
    np.testing.assert_allclose(ring.get_xydata(), [[2, 36.0]])


def test_quality_is_drawn_by_round_where_it_is_known(workdir: Path) -> None:
    path = workdir / "round_2/pseudo_labels/quality.json"
    path.write_text(path.read_text().replace('"recall": 0.5}', '"recall": 0.75}'))
    (workdir / "round_3/pseudo_labels/quality.json").unlink()
    (plot,) = rounds.quality_by_round(read_box_run(workdir))
    precision, recall = plot.figure.axes[0].lines
    np.testing.assert_allclose(precision.get_ydata(), [0.5, 0.5, np.nan])
    np.testing.assert_allclose(recall.get_ydata(), [0.5, 0.75, np.nan])
    for number in (1, 2):
        (workdir / ("" if number == 1 else "round_2") / "pseudo_labels/quality.json").unlink()
    assert rounds.quality_by_round(read_box_run(workdir)) == []


def test_the_result_is_the_kept_rounds_student_over_the_control_of_all_rounds(workdir: Path) -> None:
    page = write_report(workdir, None, None).read_text(encoding="utf-8")
    assert Page(page).headings == ["Student 36.0 AP in round 2, +6.0 over control, +8.8 over teacher"]
    assert "The students of rounds 1 to 2 were trained for 60 steps together and the control for 90" in page


def test_steps_are_equal_where_the_last_round_is_kept(workdir: Path) -> None:
    write_base(workdir / "equal")
    write_rounds(workdir / "equal", [0.25, 0.35], kept=2)
    assert unequal_steps(read_box_run(workdir / "equal")) == []


def test_a_later_rounds_curve_starts_where_the_one_before_ended(workdir: Path) -> None:
    (plot,) = learning_curve(read_box_run(workdir), "ap", "AP")
    lines = {line.get_label(): list(line.get_xdata()) for line in plot.figure.axes[0].lines}
    assert lines["teacher"] == [15, 30]
    assert lines["control"] == [45, 60]
    assert lines["student"] == [75, 90]


def test_rounds_that_are_asked_for_and_not_there_yet_are_announced(tmp_path: Path) -> None:
    write_base(tmp_path)
    write_config(tmp_path, selftrain__rounds=3)
    assert section_of(tmp_path).blocks == []


def test_a_round_that_runs_shows_what_is_there(workdir: Path) -> None:
    shutil.rmtree(workdir / "round_3/control")
    (workdir / "round_3/student/evaluation.json").unlink()
    shutil.rmtree(workdir / "round_3/pseudo_labels")
    table = section_of(workdir).blocks[0]
    assert table.rows[3] == ["round 3", "30.0", *["\u2013"] * 5]
    assert table.rows[4][:4] == ["control", *["\u2013"] * 3]
    assert "Rounds" in write_report(workdir, None, None).read_text(encoding="utf-8")


def test_a_broken_file_of_a_round_is_named(workdir: Path) -> None:
    write_json(
        workdir / "rounds.json", {"rounds": [{"round": 2, "val": 0.5}], "kept": 2, "stopped_early": False}
    )
    with pytest.raises(InputError, match=r"rounds\.json: rounds is \[2\]; expected the rounds 1, 2"):
        read_box_run(workdir)


def test_undefined_scores_are_gaps(workdir: Path) -> None:
    rescore(workdir / "round_2/student", -1)
    (plot,) = rounds.score_by_round(read_box_run(workdir), "ap", "AP")
    np.testing.assert_allclose(plot.figure.axes[0].lines[1].get_ydata(), [27.2, 31.2, np.nan, 31.0])


def test_masks_that_are_shown_are_those_of_the_kept_round(tmp_path: Path) -> None:
    write_mask_workdir(tmp_path)
    shutil.copytree(tmp_path / "teacher/masks", tmp_path / "round_2/student/masks")
    write_json(
        tmp_path / "rounds.json",
        {"rounds": [{"round": 1, "val": 0.4}, {"round": 2, "val": 0.5}], "kept": 2, "stopped_early": False},
    )
    found = read_predicted(tmp_path)("student", "t/0")
    np.testing.assert_array_equal(found, read_mask_png(mask_path(tmp_path / "teacher/masks", "t/0")))
    assert read_predicted(tmp_path)("control", "t/0") is None
