import dataclasses
import json

import numpy as np
import pytest

from selftrain_jax.html.plots import ROLE_COLORS
from selftrain_jax.report import curves, labels
from selftrain_jax.report import results as report_results
from selftrain_jax.tasks.segmentation.report import label_quality as mask_quality
from selftrain_jax.tasks.segmentation.report import results as mask_results
from selftrain_jax.tasks.segmentation.report.sections import CLASS_IOU, training_plots
from selftrain_jax.text import percent
from tests.tasks.segmentation.report.mask_run import CONFUSION, EVIL, MIOU, NAMES, THRESHOLDS, read_mask_run


def lines(plot):
    return {line.get_label(): line.get_xydata() for line in plot.figure.axes[0].lines}


@pytest.fixture
def run(mask_workdir):
    return read_mask_run(mask_workdir)


def edit(workdir, change):
    path = workdir / "student" / "evaluation.json"
    evaluation = json.loads(path.read_text())
    change(evaluation)
    path.write_text(json.dumps(evaluation))
    return read_mask_run(workdir)


def test_learning_curve_holds_miou_after_the_teachers_end(run):
    drawn = lines(curves.learning_curve(run, "miou", "mIoU")[0])
    np.testing.assert_allclose(drawn["student"], [[45, 50 * MIOU["student"]], [60, 100 * MIOU["student"]]])


def test_training_curves_hold_what_was_logged_of_human_and_pseudo(run):
    accuracy, valid = map(lines, training_plots(run))
    np.testing.assert_allclose(accuracy["human labels"][:, 1], 0.8)
    np.testing.assert_allclose(accuracy["pseudo labels"], [[10, 0.91], [20, 0.92], [30, 0.93]])
    np.testing.assert_allclose(valid["pseudo labels"][:, 1], [0.61, 0.62, 0.63])


def test_confusions_are_divided_by_the_true_pixels_of_their_row(run):
    found = mask_results.confusions(run, "student")
    assert found.names == list(NAMES)
    np.testing.assert_allclose(found.shares, [[0.8, 0.2, 0], [0.1, 0.85, 0.05], [0.25, 0, 0.75]])


def test_confusions_of_a_class_that_never_occurs_are_left_out(mask_workdir):
    def remove(evaluation):
        evaluation["confusion"] = [[80, 0, 20], [0, 0, 0], [5, 0, 15]]

    found = mask_results.confusions(edit(mask_workdir, remove), "student")
    assert found.names == [NAMES[0], NAMES[2]]
    np.testing.assert_allclose(found.shares, [[0.8, 0.2], [0.25, 0.75]])


def test_class_found_without_being_there_has_a_column_and_an_empty_row(mask_workdir):
    def remove(evaluation):
        evaluation["confusion"] = [[80, 0, 20], [0, 0, 0], [0, 0, 0]]

    run = edit(mask_workdir, remove)
    np.testing.assert_allclose(mask_results.confusions(run, "student").shares, [[0.8, 0.2], [np.nan, np.nan]])
    assert mask_results.worst_confusions(mask_results.confusions(run, "student"), 5) == [(0, 1)]
    assert len(mask_results.confusion_plot(run, "student")[0].figure.axes[0].texts) == 2


def test_confusion_plot_writes_percents_right_ones_in_the_students_colour(run):
    axes = mask_results.confusion_plot(run, "student")[0].figure.axes[0]
    written = {(round(x), round(y)): text.get_text() for text in axes.texts for x, y in [text.get_position()]}
    assert written == {
        **{(0, 0): "80", (1, 0): "20", (0, 1): "10", (1, 1): "85", (2, 1): "5", (0, 2): "25", (2, 2): "75"}
    }
    colors = axes.collections[0].get_facecolors()
    student = [int(ROLE_COLORS["student"][place : place + 2], 16) / 255 for place in (1, 3, 5)]
    assert [np.allclose(color[:3], student) for color in colors] == [
        True,
        False,
        False,
        True,
        False,
        False,
        True,
    ]
    assert colors[0, 3] > colors[1, 3] > colors[4, 3], "the larger the share, the stronger"


def test_worst_confusions_come_first_and_none_lies_on_the_diagonal(run):
    found = mask_results.confusions(run, "student")
    assert mask_results.worst_confusions(found, 3) == [(2, 0), (0, 1), (1, 0)]
    table = mask_results.confusion_table(run)
    assert [row[0] for row in table.rows][:2] == [
        "$a_b$ & co taken for background",
        f"background taken for {EVIL}",
    ]
    teacher = CONFUSION["teacher"]
    assert f"{100 * teacher[2][0] / sum(teacher[2]):.0f} %" in table.rows[0]


def test_image_gains_are_student_minus_other_in_points_where_both_are_defined(run):
    gains = mask_results.image_gains(run, "teacher")
    assert gains == pytest.approx({"t/0": 30, "t/1": 5, "t/2": -10})
    counts = mask_results.image_gain_histogram(run)[0].figure.axes[0].patches[0].get_data()
    assert counts.values.sum() == 3
    assert counts.values[counts.edges[:-1] >= 0].sum() == 2  # over the control: +20, +5, -10
    assert "67 % of the images" in mask_results.image_gain_histogram(run)[0].caption


def test_gains_by_class_are_those_of_iou_and_undefined_ones_are_left_out(mask_workdir):
    run = read_mask_run(mask_workdir)
    expected = 100 * (MIOU["student"] - MIOU["teacher"])
    assert report_results.class_gains(run, "teacher", "iou") == pytest.approx(dict.fromkeys(NAMES, expected))
    assert "points of IoU" in report_results.class_gain_bars(run, CLASS_IOU)[0].figure.axes[0].get_xlabel()
    run = edit(mask_workdir, lambda evaluation: evaluation["per_class"][EVIL].update(iou=-1))
    assert EVIL not in report_results.class_gains(run, "teacher", "iou")
    assert EVIL in report_results.class_gains(run, "teacher", "iou_resized")


def test_coverage_and_quality_equal_the_files_with_the_threshold_marked(run):
    coverage = lines(mask_quality.coverage_by_threshold(run, 0.35)[0])
    np.testing.assert_allclose(coverage["coverage"], np.stack([THRESHOLDS, 1 - np.array(THRESHOLDS)], 1))
    np.testing.assert_allclose(coverage["threshold 0.35"][:, 0], 0.35)
    quality = lines(mask_quality.quality_by_threshold(run, 0.35)[0])
    np.testing.assert_allclose(quality["precision"][:, 1], [*THRESHOLDS[:-1], np.nan])
    np.testing.assert_allclose(quality["recall"][:, 1], THRESHOLDS[::-1])
    np.testing.assert_allclose(quality["mIoU of the kept"][:, 1], 0.5)
    trade = mask_quality.precision_by_coverage(run)[0].figure.axes[0].lines
    np.testing.assert_allclose(
        trade[0].get_xydata(), np.stack([THRESHOLDS[::-1], [*THRESHOLDS[:-1], np.nan]], 1)
    )
    np.testing.assert_allclose(trade[1].get_xydata(), [[0.35, 0.9]])


@pytest.mark.parametrize(("bad", "said"), [(0, ""), (1, "1 image whose"), (1200, "1,200 images whose")])
def test_images_whose_true_mask_is_bad_are_said_beside_the_quality(run, bad, said):
    told = run._replace(quality=dataclasses.replace(run.quality, bad_truth=bad))
    caption = mask_quality.quality_by_threshold(told, 0.35)[0].caption
    assert said in caption
    assert ("Left out" in caption) == bool(bad)


def test_confidence_histogram_is_in_shares_and_reliability_speaks_of_pixels(run):
    values = mask_quality.confidence_histogram(run, 0.5)[0].figure.axes[0].patches[0].get_data().values
    np.testing.assert_allclose(values, np.arange(20) / 190)
    assert "pixels" in labels.reliability(run, "pixels")[0].figure.axes[0].get_ylabel()


def test_class_shares_stand_side_by_side_and_a_class_never_found_has_no_pseudo_point(run):
    drawn = lines(mask_quality.class_shares(run)[0])
    np.testing.assert_allclose(drawn["human labels"][:, 0], [100 / 2.2, 100 / 2.2, 20 / 2.2])
    np.testing.assert_allclose(drawn["pseudo labels"][:, 0], [400 / 6.3, 230 / 6.3, np.nan])


def test_quality_by_class_starts_with_the_most_frequent(run):
    assert [plot.title for plot in mask_quality.quality_by_class(run, 0.5)] == list(NAMES)
    assert mask_quality.quality_by_class(run, 0.5)[0].caption == "63 % of the pixels kept"


def test_tables_hold_both_ways_of_measuring_and_the_pixels_of_each_class(run):
    assert mask_results.class_table(run, "iou").rows[0][-3:] == ["53.1", "+4.9", "+8.1"]
    assert mask_results.class_table(run, "iou_resized").rows[0][-3:] == ["54.1", "+4.9", "+8.1"]
    cells = [row[1] for row in mask_quality.label_table(run.manifest, run.quality).rows]
    for text in ("35.0 %", "90.0 %", "40.0 %", "60.0 %", "630"):
        assert text in cells
    by_class = mask_quality.label_class_table(run, run.manifest.labels)
    assert by_class.rows[0][1:] == ["600", "400", "67 %", "63 %", "45 %"]


def test_percents_have_about_two_digits():
    assert [percent(share) for share in (0.953, 0.0812, 0.00456, 0.0, None, float("nan"))] == [
        *("95 %", "8.1 %", "0.46 %", "0 %", "\u2013", "\u2013")
    ]
    assert percent(0.9532, 1) == "95.3 %"
