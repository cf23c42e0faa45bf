import dataclasses
import json

import numpy as np
import pytest

from selftrain_jax.html.blocks import Plots
from selftrain_jax.html.plots import MAX_POINTS, ROLE_COLORS, Plot, new_axes, styled, thin
from selftrain_jax.report import curves, labels, results
from selftrain_jax.tasks.detection.report import label_quality, precision_recall
from selftrain_jax.tasks.detection.report.label_quality import BoxStatistics
from selftrain_jax.tasks.detection.report.sections import CLASS_AP
from tests.html.html_page import render_blocks
from tests.tasks.conftest import read_box_run

AP = {"teacher": 0.272, "control": 0.281, "student": 0.312}  # as conftest.py writes them
NAMES = ["cat", "<script>alert('x')</script>", "$a_b$ & co"]
THRESHOLDS = [round(0.05 * step, 2) for step in range(1, 20)]


def lines(plot):
    return {line.get_label(): line.get_xydata() for line in plot.figure.axes[0].lines}


@pytest.fixture
def run(workdir):
    return read_box_run(workdir)


def test_learning_curves_hold_the_logged_values_after_the_teachers_end(run):
    drawn = lines(curves.learning_curve(run, "ap", "AP")[0])
    for name, start in (("teacher", 0), ("control", 30), ("student", 30)):
        np.testing.assert_allclose(drawn[name], [[start + 15, 50 * AP[name]], [start + 30, 100 * AP[name]]])


def test_learning_curves_may_start_at_zero(run):
    drawn = lines(curves.learning_curve(run, "ap", "AP", total_steps=False)[0])
    np.testing.assert_allclose(drawn["student"][:, 0], [15, 30])


def test_loss_curves_hold_the_logged_values_and_the_teacher_has_no_pseudo_loss(run):
    student = lines(curves.loss_curve(run, "student")[0])
    np.testing.assert_allclose(student["human labels"], [[10, 1.9], [20, 1.8], [30, 1.7]])
    np.testing.assert_allclose(student["pseudo labels"], [[10, 1.4], [20, 1.3], [30, 1.2]])
    assert list(lines(curves.loss_curve(run, "teacher")[0])) == ["human labels"]


def test_loss_normaliser_plots_hold_averages_and_ratio(run):
    np.testing.assert_allclose(lines(curves.loss_norm_averages(run)[0])["human"][:, 1], [0.51, 0.52, 0.53])
    ratio = curves.loss_norm_ratio(run)[0].figure.axes[0].lines[0].get_ydata()
    np.testing.assert_allclose(ratio, np.array([0.51, 0.52, 0.53]) / 0.4)


def test_null_is_left_out_of_the_wait_curve(run):
    np.testing.assert_allclose(lines(curves.data_wait_curve(run)[0])["teacher"], [[10, 0.1], [30, 0.1]])


def test_precision_recall_curves_equal_the_file(run):
    expected = np.stack([np.linspace(0, 1, 101), np.linspace(1, 0, 101)], axis=1)
    np.testing.assert_allclose(
        lines(precision_recall.precision_recall(run, "precision_iou50", "0.5")[0])["student"], expected
    )
    by_class = precision_recall.precision_recall_by_class(run)
    assert [plot.title for plot in by_class] == NAMES
    np.testing.assert_allclose(lines(by_class[1])["control"], expected)


def test_gain_bars_are_student_minus_the_others(run):
    axes = results.class_gain_bars(run, CLASS_AP)[0].figure.axes[0]
    for container, other in zip(axes.containers, ("control", "teacher"), strict=True):
        widths = [bar.get_width() for bar in container]
        np.testing.assert_allclose(widths, [100 * (AP["student"] - AP[other])] * 3)


def test_undefined_ap_gives_no_bar(workdir):
    path = workdir / "student" / "evaluation.json"
    evaluation = json.loads(path.read_text())
    evaluation["per_class"]["cat"]["ap"] = -1
    path.write_text(json.dumps(evaluation))
    assert "cat" not in results.class_gains(read_box_run(workdir), "control", "ap")


def test_label_quality_equals_the_file_with_the_threshold_marked(run):
    drawn = lines(label_quality.quality_by_threshold(run, 0.35)[0])
    np.testing.assert_allclose(drawn["precision"], np.stack([THRESHOLDS, [*THRESHOLDS[:-1], np.nan]], 1))
    np.testing.assert_allclose(drawn["recall"], np.stack([THRESHOLDS, THRESHOLDS[::-1]], 1))
    np.testing.assert_allclose(drawn["threshold 0.35"][:, 0], 0.35)
    assert len(label_quality.quality_by_class(run, 0.35)) == 3


def test_score_histogram_and_reliability_equal_the_files(run):
    values, edges, _ = label_quality.score_histogram(run, 0.5)[0].figure.axes[0].patches[0].get_data()
    np.testing.assert_allclose(values, range(20))
    np.testing.assert_allclose(edges, np.linspace(0, 1, 21))
    teacher = lines(labels.reliability(run, "boxes")[0])["teacher"]
    np.testing.assert_allclose(teacher, np.stack([np.linspace(0.15, 0.95, 9), np.linspace(0.1, 0.9, 9)], 1))


def test_box_histograms_are_shares():
    human = BoxStatistics(np.array([0.0, 2.0, 2.0, 3.0]), np.array([4.0, 8.0, 64.0]))
    pseudo = BoxStatistics(np.array([1.0]), np.array([16.0]))
    human_patch, pseudo_patch = label_quality.boxes_per_image(human, pseudo)[0].figure.axes[0].patches
    np.testing.assert_allclose(human_patch.get_data().values[:4], [0.25, 0, 0.5, 0.25])
    np.testing.assert_allclose(pseudo_patch.get_data().values[:4], [0, 1, 0, 0])
    for patch in label_quality.box_sizes(human, pseudo)[0].figure.axes[0].patches:
        assert patch.get_data().values.sum() == pytest.approx(1)


def test_long_series_are_thinned_to_exact_points_with_the_last_one():
    x, y = thin(np.arange(12345.0), np.arange(12345.0) ** 2)
    assert len(x) <= MAX_POINTS
    assert x[-1] == 12344
    np.testing.assert_array_equal(y, x**2)


@styled()
def test_svg_uses_page_colors_and_escapes_text():
    axes = new_axes("<b>$x$</b>", 'a"b')
    axes.plot([0, 1], [0, 1], color=ROLE_COLORS["student"])
    plot = Plot("title", "caption", 'say "no"', axes.figure)
    drawing = render_blocks([Plots([plot], "key")])
    assert "<b>" not in drawing
    assert "&lt;b&gt;$x$&lt;/b&gt;" in drawing
    assert 'aria-label="say &#34;no&#34;"' in drawing
    assert "var(--student)" in drawing
    assert ROLE_COLORS["student"] not in drawing
    assert "http" not in drawing


def test_the_labels_name_the_views_that_they_were_made_from(run):
    manifest = run.manifest
    assert ["views of an image, f: mirrored", "1"] in label_quality.label_table(manifest, None).rows
    settings = dataclasses.replace(manifest.labels.settings, views="1,1f")
    labels = dataclasses.replace(manifest.labels, settings=settings)
    rows = label_quality.label_table(dataclasses.replace(manifest, labels=labels), None).rows
    assert ["views of an image, f: mirrored", "1,1f"] in rows
