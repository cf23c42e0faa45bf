"""What is drawn of a figure: the paper's points, ours where they were run, and crosses for what diverged."""

import pathlib

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from selftrain_jax.errors import InputError
from selftrain_jax.paper.compare.drawing import arrange_figure, draw_figure, save_figure
from selftrain_jax.paper.compare.results import Results, read_results
from selftrain_jax.paper.rows import rows
from tests.paper.compare.runs import write_diverged, write_run

FIGURES = ("figure1", "figure2", "figure3")
NOTHING = Results({}, (), 0)


def lines_of(axes: Axes, name: str) -> list[list[tuple[float, float]]]:
    """Return the points of the lines with a label; those of error bars have it on their container."""
    lines = [line for line in axes.lines if line.get_label() == name]
    lines += [own.lines[0] for own in axes.containers if own.get_label() == name]
    return [list(zip(*line.get_data(), strict=True)) for line in lines]


def panel_of(drawing: Figure, title: str) -> Axes:
    (axes,) = (axes for axes in drawing.axes if axes.get_title() == title)
    return axes


@pytest.mark.parametrize("figure", FIGURES)
def test_every_row_is_a_point_of_the_paper_and_none_of_ours_without_runs(figure: str) -> None:
    points = [
        point for panel in arrange_figure(figure, NOTHING) for own in panel.series for point in own.points
    ]
    assert len(points) == len(rows(figure))
    drawing = draw_figure(figure, NOTHING)
    assert drawing.get_suptitle().endswith(f"0 of {len(rows(figure))} rows have results")
    labels = [line.get_label() for axes in drawing.axes for line in axes.lines]
    assert labels
    assert not [label for label in labels if label.endswith("ours")]
    assert not [own for axes in drawing.axes for own in axes.containers]
    assert "ours" not in [text.get_text() for text in drawing.legends[0].get_texts()]


def test_panels_are_the_papers() -> None:
    counts = {figure: [len(panel.series) for panel in arrange_figure(figure, NOTHING)] for figure in FIGURES}
    assert counts == {"figure1": [3, 3], "figure2": [2] * 6, "figure3": [3] * 4}
    left, right = arrange_figure("figure1", NOTHING)
    assert (left.ticks, right.ticks) == (("S1", "S2", "S3", "S4"), ("20%", "50%", "100%"))
    assert arrange_figure("figure2", NOTHING)[1].ticks == ("0.5", "1", "2", "3", "5")


def test_ours_lie_beside_the_papers_and_a_gap_parts_the_line(tmp_path: pathlib.Path) -> None:
    # Figure 2, S1 at 90k with normalization: alpha 0.25, 0.5, 2 and 3 of six; two seeds of the first.
    for row, ap in ((1, 37.0), (2, 38.0), (4, 39.0), (5, 40.0)):
        write_run(tmp_path, "figure2", row, teacher=36.0, student=ap)
    write_run(tmp_path, "figure2", 1, seed=1, teacher=36.0, student=39.0)
    axes = panel_of(draw_figure("figure2", read_results(tmp_path)), "S1, 90k")
    paper = [(0, 37.88), (1, 38.31), (2, 38.64), (3, 39.93), (4, 39.99), (5, 40.04)]
    assert lines_of(axes, "loss normalisation, paper") == [paper]
    first, second = lines_of(axes, "loss normalisation, ours")
    assert first == [(0, pytest.approx(38.0)), (1, pytest.approx(38.0))]
    assert second == [(3, pytest.approx(39.0)), (4, pytest.approx(40.0))]


def test_crosses_are_for_what_diverged(tmp_path: pathlib.Path) -> None:
    write_diverged(tmp_path, "figure2", 10)
    axes = panel_of(draw_figure("figure2", read_results(tmp_path)), "S1, 90k")
    (paper,), (ours,) = (lines_of(axes, f"plain loss, {whose} NaN") for whose in ("paper", "ours"))
    assert [round(x) for x, _ in paper] == [4, 5]  # alpha 3 and 4
    assert [round(x) for x, _ in ours] == [3]  # alpha 2
    assert not lines_of(axes, "plain loss, ours")


def test_a_png_is_written_whole(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "figure.png"
    save_figure(draw_figure("figure1", NOTHING), path)
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "RGBA")
        assert len(image.convert("RGB").getcolors(1 << 24)) > 100  # something is drawn
    assert [own.name for own in tmp_path.iterdir()] == ["figure.png"]


@pytest.mark.parametrize(("name", "words"), [("f.pdf", "ends in .png"), ("no/f.png", "no does not exist")])
def test_a_wrong_output_is_refused(tmp_path: pathlib.Path, name: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        save_figure(draw_figure("figure1", NOTHING), tmp_path / name)
