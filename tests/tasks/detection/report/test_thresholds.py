import json
from dataclasses import replace

import numpy as np
import pytest

from selftrain_jax.html.blocks import Code, Note, Plots, Table
from selftrain_jax.jobs.report import write_report
from selftrain_jax.report.thresholds import thresholds_section
from selftrain_jax.run_files.summary import LabelSummary
from selftrain_jax.selftrain.calibration import CUTS, wilson_interval
from tests.html.html_page import Page, render_section
from tests.selftrain.test_calibration import calibration, curve
from tests.tasks.conftest import NAMES, read_box_run

CAT, EVIL, MATH = NAMES


@pytest.fixture
def section(workdir):
    """Cats are right from 0.6 on, the second class never, and of the third there are three boxes."""
    from_60 = [100 if cut < 0.6 else 40 for cut in CUTS]
    few = curve(4, [3] * 100, [3] * 100)
    curves = {CAT: curve(50, from_60, [40] * 100), EVIL: curve(0, [60] * 100, [0] * 100), MATH: few}
    found = calibration({"IoU 0.5": curves, "IoU 0.75": curves}, CUTS)
    (workdir / "teacher" / "calibration.json").write_text(json.dumps(found.to_json()))
    config = {"pseudo": {"precision": 0.9, "threshold": 0.7}}
    (workdir / "config.json").write_text(json.dumps(config))
    return thresholds_section(read_box_run(workdir))[0]


def of_kind(section, kind):
    return [block for block in section.blocks if isinstance(block, kind)]


def test_section_is_there_only_with_a_calibration(workdir):
    assert thresholds_section(read_box_run(workdir)) == []
    assert "Thresholds" not in Page(write_report(workdir, None, None).read_text(encoding="utf-8")).headings


def test_table_notes_and_flags_say_the_advice_for_the_runs_own_precision(section):
    rows = {row[0]: row[1:] for row in of_kind(section, Table)[0].rows}
    assert rows[CAT][:3] == ["0.60", "1.000", "0.94 to 1.00"]
    assert rows[EVIL][-1] == "not reached, nearest"
    assert rows[MATH][-1] == "too few: 22 boxes missing"
    assert rows[MATH][0] == "0.70"
    notes = " ".join(note.text for note in of_kind(section, Note))
    assert f"for which config.pseudo.threshold=0.7 stays: {MATH}." in notes
    flags = of_kind(section, Code)[0].text
    assert f"--config.pseudo.per_class_thresholds='{CAT}=0.6," in flags
    assert "--config.pseudo.thresholds=auto" in flags


def test_classes_that_the_student_ignores_are_named(workdir, section):
    assert "gnored in pseudo labels" not in " ".join(note.text for note in of_kind(section, Note))
    (workdir / "config.json").write_text(json.dumps({"pseudo": {"min_class_recall": 0.3}}))
    labels = LabelSummary(
        images=1, counts={}, per_class={}, seconds=1.0, quality={}, ignored_classes=(CAT, EVIL)
    )
    run = read_box_run(workdir)
    run = run._replace(summary=replace(run.summary, pseudo_labels=labels))
    notes = [note.text for note in of_kind(thresholds_section(run)[0], Note)]
    said = f"neither taught nor background, for a recall under 0.3: {CAT!r}, {EVIL!r}."
    assert f"Ignored in pseudo labels, {said}" in notes


def test_curves_hold_precision_recall_and_the_advised_threshold(section):
    drawn = {plot.title: plot for block in of_kind(section, Plots) for plot in block.plots}
    axes = drawn[CAT].figure.axes[0]
    lines = {line.get_label(): line.get_xydata() for line in axes.lines}
    np.testing.assert_allclose(lines["precision"][[0, 59, 60, 99], 1], [0.4, 0.4, 1, 1])
    np.testing.assert_allclose(lines["recall"][:, 1], 0.8)
    np.testing.assert_allclose(lines["threshold 0.6"][:, 0], 0.6)
    band = axes.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(wilson_interval(0.4, 100)[0])
    assert not [label for label in _labels(drawn[MATH]) if label.startswith("threshold")]
    assert drawn[MATH].caption == "22 more boxes are missing"


def _labels(plot):
    return [line.get_label() for line in plot.figure.axes[0].lines]


def test_section_nests_and_escapes_names(section):
    text = render_section(section)
    Page(text)
    assert "<script" not in text
    assert "&lt;script&gt;" in text
