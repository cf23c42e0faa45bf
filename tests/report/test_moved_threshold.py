"""The section of pseudo labels of a run whose threshold is not that with which its labels were made."""

from pathlib import Path

import pytest

from selftrain_jax.jobs.report import write_report
from selftrain_jax.report.workdir import threshold_used
from selftrain_jax.tasks.detection.report.label_quality import label_table
from selftrain_jax.tasks.segmentation.report.label_quality import label_table as mask_label_table
from tests.compare_run import write_base, write_config
from tests.tasks.conftest import read_box_run, write_json
from tests.tasks.segmentation.report.mask_run import read_mask_run, write_mask_workdir

NOTE = "The labels were made with the threshold 0.5 and are used with 0.7. "


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    return write_base(tmp_path)


def test_numbers_of_boxes_are_those_at_the_runs_own_threshold(workdir: Path) -> None:
    write_config(workdir, pseudo__threshold=0.7)
    run = read_box_run(workdir)
    rows = dict(label_table(run.manifest, run.quality, run.config).rows)
    assert rows["boxes from the threshold 0.7 on"] == str(sum(range(14, 20)))
    assert rows["of them in an image, on average"] == "49.50"
    assert rows["images without any such box"] == "\u2013"
    assert rows["precision at the threshold, IoU 0.5"] == "0.700"
    assert threshold_used(run) == 0.7
    assert NOTE in write_report(workdir, None, None).read_text(encoding="utf-8")


def test_at_the_threshold_of_the_labels_nothing_is_said(workdir: Path) -> None:
    run = read_box_run(workdir)
    assert label_table(run.manifest, run.quality, run.config) == label_table(run.manifest, run.quality)
    assert "are used with" not in write_report(workdir, None, None).read_text(encoding="utf-8")


def test_thresholds_of_each_class_that_were_moved_leave_numbers_out(workdir: Path) -> None:
    write_config(workdir, pseudo__per_class_thresholds="cat=0.9")
    run = read_box_run(workdir)
    rows = dict(label_table(run.manifest, run.quality, run.config).rows)
    assert rows["boxes from the threshold 0.5 on"] == "\u2013"
    assert rows["recall at the threshold, IoU 0.5"] == "\u2013"
    text = write_report(workdir, None, None).read_text(encoding="utf-8")
    assert "The thresholds of classes were changed after the labels were made." in text


def test_numbers_of_pixels_are_those_at_the_runs_own_threshold(tmp_path: Path) -> None:
    """The histogram holds 0 to 19 pixels in 20 bins, of 1800 pixels in all."""
    write_mask_workdir(tmp_path)
    write_json(tmp_path / "config.json", {"task": "segmentation", "pseudo": {"threshold": 0.7}})
    run = read_mask_run(tmp_path)
    rows = dict(mask_label_table(run.manifest, run.quality, run.config).rows)
    assert rows["pixels from the threshold 0.7 on"] == "99"
    assert NOTE in write_report(tmp_path, None, None).read_text(encoding="utf-8")
