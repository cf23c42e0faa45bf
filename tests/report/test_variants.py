"""The section of variants: its table against numbers by hand, its figures, half-finished folders."""

import json
from pathlib import Path

import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.html.blocks import Cell, Legend, Note, Plots, Table
from selftrain_jax.html.plots import ROLE_COLORS
from selftrain_jax.jobs.report import write_report
from selftrain_jax.report import variants
from selftrain_jax.report.page import comparison_sections
from tests.compare_run import recount_labels, write_base, write_variant
from tests.html.html_page import Page
from tests.tasks.conftest import read_box_run, write_json


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    return write_base(tmp_path)


def section_of(workdir: Path):
    sections = comparison_sections(read_box_run(workdir), "ap", "AP")
    return next(section for section in sections if section.key == "variants")


def rows_of(section) -> list[list[str]]:
    table = next(block for block in section.blocks if isinstance(block, Table))
    header = [cell.text if isinstance(cell, Cell) else cell for cell in table.header]
    return [header, *([cell.text if isinstance(cell, Cell) else cell for cell in row] for row in table.rows)]


def test_a_run_alone_has_none_of_the_sections_that_compare(workdir: Path) -> None:
    assert comparison_sections(read_box_run(workdir), "ap", "AP") == []


def test_the_table_has_gains_settings_and_labels_at_each_threshold(workdir: Path) -> None:
    """The control reached 28.1, the teacher 27.2; precision at a threshold t is t, recall 1 - t."""
    write_variant(workdir, "alpha=2", 0.4, selftrain__alpha=2.0)
    variant = write_variant(workdir, "threshold=0.7", 0.25, pseudo__threshold=0.7, student__steps=60)
    recount_labels(variant, 0.7, 99)
    section = section_of(workdir)
    assert rows_of(section) == [
        ["", "AP", "over control", "over teacher", "threshold", "alpha", "precision", "recall", "differs"],
        ["base", "31.2", "+3.1", "+4.0", "0.5", "1", "0.500", "0.500", ""],
        ["alpha=2", "40.0", "+11.9", "+12.8", "0.5", "2", "0.500", "0.500", ""],
        ["threshold=0.7", "25.0", "\u22123.1", "\u22122.2", "0.7", "1", "0.700", "0.300", "student.steps=60"],
    ]


def test_a_variant_that_has_not_come_far_shows_what_is_there(workdir: Path) -> None:
    write_variant(workdir, "begun", None)
    running = write_variant(workdir, "running", 0.4)
    (running / "student/evaluation.json").unlink()
    (workdir / "variants/empty").mkdir()
    (workdir / "variants/broken link").mkdir()
    (workdir / "variants/broken link/teacher").symlink_to("../../gone")
    rows = {row[0]: row[1:] for row in rows_of(section_of(workdir))}
    missing = ["\u2013"] * 2
    assert rows["begun"][:3] == ["not there yet", *missing]
    assert rows["running"][:3] == ["at step 30", *missing]
    assert rows["empty"] == ["not there yet", *missing, *["\u2013"] * 4]
    assert Page(write_report(workdir, None, None).read_text(encoding="utf-8")).headings


def test_students_are_drawn_in_colors_of_their_own_and_the_base_as_everywhere(workdir: Path) -> None:
    for index in range(8):
        write_variant(workdir, f"v{index}", 0.3 + index / 100)
    compared = variants.drawn_variants(read_box_run(workdir), "ap")
    (plot,) = variants.student_curves(compared, "ap", "AP")
    lines = plot.figure.axes[0].lines
    assert len(lines) == 9
    assert lines[0].get_color() == ROLE_COLORS["student"]
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 9
    assert list(lines[0].get_ydata()) == pytest.approx([15.6, 31.2])
    (legend,) = [block for block in section_of(workdir).blocks if isinstance(block, Legend)]
    assert [entry.name for entry in legend.entries] == ["base", *(f"v{index}" for index in range(8))]
    assert [entry.style for entry in legend.entries].count("dashed") == 2


def test_of_many_variants_the_best_are_drawn_and_all_are_listed(workdir: Path) -> None:
    for index in range(15):
        write_variant(workdir, f"v{index}", None if index == 3 else 0.5 - index / 100)
    section = section_of(workdir)
    assert len(rows_of(section)) == 1 + 16
    drawn = [entry.name for entry in variants.drawn_variants(read_box_run(workdir), "ap")]
    assert drawn == ["base", *(f"v{index}" for index in range(13) if index != 3)]
    (note,) = [block for block in section.blocks if isinstance(block, Note)]
    assert note.text == "The figures show the 12 variants with the highest AP; 3 are left out."


def test_labels_are_points_at_each_threshold_on_one_line_where_they_are_shared(workdir: Path) -> None:
    """The thresholds are those of the labels: with thresholds=auto the config does not know them."""
    recount_labels(write_variant(workdir, "threshold=0.7", 0.4), 0.7, 99)
    write_variant(workdir, "alpha=2", 0.4, selftrain__alpha=2.0)
    (plot,) = variants.label_quality(variants.drawn_variants(read_box_run(workdir), "ap"))
    (axes,) = plot.figure.axes
    assert len(axes.lines) == 1
    places = [tuple(points.get_offsets()[0]) for points in axes.collections]
    assert places == [pytest.approx(place) for place in ((0.5, 0.5), (0.5, 0.5), (0.3, 0.7))]
    assert [text.get_text() for text in axes.texts] == ["0.5", "0.7"]
    first, second, _ = (points.get_sizes()[0] for points in axes.collections)
    assert first > second  # rings around one another, not one over the other


def test_other_labels_have_a_line_of_their_own(workdir: Path) -> None:
    folder = write_variant(workdir, "another teacher", 0.4)
    recount_labels(folder, 0.7, 99)
    path = folder / "pseudo_labels/quality.json"
    quality = json.loads(path.read_text())
    recall = [value / 2 for value in quality["overall"]["recall"]]
    write_json(path, {**quality, "overall": {**quality["overall"], "recall": recall}})
    (plot,) = variants.label_quality(variants.drawn_variants(read_box_run(workdir), "ap"))
    first, second = plot.figure.axes[0].lines
    assert list(second.get_xdata()) == pytest.approx([value / 2 for value in first.get_xdata()])


def test_labels_that_are_counted_again_and_not_measured_yet_have_no_point(workdir: Path) -> None:
    folder = write_variant(workdir, "threshold=0.7", 0.4)
    recount_labels(folder, 0.7, 99)
    (folder / "pseudo_labels/quality.json").unlink()
    rows = {row[0]: row for row in rows_of(section_of(workdir))}
    assert rows["threshold=0.7"][4:] == ["0.7", "1", "\u2013", "\u2013"]
    (plot,) = variants.label_quality(variants.drawn_variants(read_box_run(workdir), "ap"))
    assert [len(own) for own in (plot.figure.axes[0].lines, plot.figure.axes[0].collections)] == [1, 1]


def test_a_variant_without_labels_shows_the_threshold_that_it_asks_for(workdir: Path) -> None:
    (write_variant(workdir, "begun", None, pseudo__threshold=0.7) / "pseudo_labels").unlink()
    rows = {row[0]: row for row in rows_of(section_of(workdir))}
    assert rows["begun"][4] == "0.7"


def test_without_the_truth_there_are_no_figures_of_labels(workdir: Path) -> None:
    write_variant(workdir, "a", 0.4)
    (workdir / "pseudo_labels/quality.json").unlink()
    section = section_of(workdir)
    assert rows_of(section)[0] == ["", "AP", "over control", "over teacher", "threshold", "alpha"]
    (drawn,) = [block for block in section.blocks if isinstance(block, Plots)]
    assert len(drawn.plots) == 1


def test_large_files_of_variants_are_not_read(workdir: Path) -> None:
    folder = write_variant(workdir, "a", 0.4)
    (folder / "student/detections.json").write_text("not JSON")
    run = read_box_run(workdir)
    assert run.variants["a"].stages["student"].detections is None
    assert run.stages["student"].detections is not None


@pytest.mark.parametrize(
    "name", ["config.json", "student/evaluation.json", "student/metrics.jsonl", "rounds.json"]
)
def test_a_broken_file_of_a_variant_is_named(workdir: Path, name: str) -> None:
    folder = write_variant(workdir, "a", 0.4)
    (folder / name).write_text("[]\n")
    with pytest.raises(InputError, match=rf"variants/a/{name}"):
        read_box_run(workdir)


def test_hostile_names_stay_text(workdir: Path) -> None:
    name = "<script>alert(1)<%script> $x$"
    folder = write_variant(workdir, name, 0.4)
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", {**config, "<b>": "</table>\udcff"})
    page = write_report(workdir, None, None).read_text(encoding="utf-8")
    assert "script" not in {tag for tag, _ in Page(page).tags}
    assert "&lt;script&gt;alert(1)" in page


def test_a_variant_called_base_does_not_replace_the_base(workdir: Path) -> None:
    write_variant(workdir, "base", 0.4)
    assert [row[:2] for row in rows_of(section_of(workdir))[1:]] == [["base", "31.2"], ["base", "40.0"]]
