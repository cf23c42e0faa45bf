"""The advice of `--job=thresholds` in the report, where teacher/calibration.json is there.

Call `thresholds_section`.
"""

import numpy as np
from matplotlib.axes import Axes

from selftrain_jax.html.blocks import Block, Code, Legend, LegendEntry, Note, Section, Table, plots
from selftrain_jax.html.plots import ROLE_COLORS, Plot, finish, new_axes, styled
from selftrain_jax.report.labels import mark_threshold, reliability_plot
from selftrain_jax.report.page import MAX_SMALL_PLOTS, SMALL_INCHES, small_multiples
from selftrain_jax.report.workdir import RunFiles, as_floats
from selftrain_jax.run_files.calibration import ClassCurve, TeacherCalibration
from selftrain_jax.run_files.variants import pick_number
from selftrain_jax.selftrain.advice_words import (
    advice_flags,
    advice_notes,
    advice_rows,
    advice_title,
    auto_flags,
)
from selftrain_jax.selftrain.calibration import pooled_curve, reliability
from selftrain_jax.selftrain.threshold_advice import Advice, ClassAdvice, advise, read_curve

LEAD = (
    "Measured on labelled images that the teacher was not trained on; it holds for images like these. A "
    "threshold is advised where the lower end of the precision's interval reaches what is wanted: more "
    "labelled images narrow the interval, and lower the threshold."
)
LEGEND = Legend(
    [
        LegendEntry("precision from the threshold on", "var(--ink)"),
        LegendEntry("its 90 % interval", "color-mix(in srgb, var(--teacher) 25%, transparent)", "area"),
        LegendEntry("recall", "var(--pseudo)", "dashed"),
        LegendEntry("advised threshold", "var(--muted)", "dotted"),
    ]
)


def thresholds_section(run: RunFiles) -> list[Section]:
    """Show the advice for the run's wanted precision, with the curves that it was read off."""
    calibration = run.calibration
    if calibration is None:
        return []
    pseudo = (run.config or {}).get("pseudo", {})
    precision, common = float(pseudo.get("precision", 0.9)), float(pseudo.get("threshold", 0.5))
    advice = advise(calibration, precision, common)
    judged = next(iter(calibration.curves))
    drawn = [
        _pooled_plot(pooled_curve(calibration, judged), calibration, advice),
        reliability_plot(reliability(calibration, judged), calibration.unit),
    ]
    by_class = _class_plots(calibration, advice)
    head, *rows = advice_rows(calibration, advice)
    title = advice_title(calibration, advice)
    blocks: list[Block] = [
        Note(f"{title[:1].upper()}{title[1:]}."),
        Table(head, rows, strong_rows=[len(rows) - 1]),
        *(Note(note) for note in [*advice_notes(calibration, advice), *_ignored(run)]),
        Code("\n".join([*advice_flags(calibration, advice), "", *auto_flags(advice)]).strip()),
        *plots(drawn, "advice"),
        *small_multiples(by_class, "adv", "By class", len(advice.classes), LEGEND, calibration.unit),
    ]
    return [Section("thresholds", "Thresholds", LEAD, blocks)]


def _ignored(run: RunFiles) -> list[str]:
    """Say which classes the student ignores for their recall, once it has been trained."""
    labels = run.summary.pseudo_labels if run.summary else None
    if labels is None or not labels.ignored_classes:
        return []
    bound = pick_number(run.config, "pseudo.min_class_recall")
    names = ", ".join(map(repr, labels.ignored_classes))
    return [
        f"Ignored in pseudo labels, neither taught nor background, for a recall under {bound:g}: {names}."
    ]


@styled()
def _pooled_plot(curve: ClassCurve, calibration: TeacherCalibration, advice: Advice) -> Plot:
    axes = new_axes("score", "", (5.2, 3.1))
    _draw_curve(axes, curve, calibration, advice)
    mark_threshold(axes, advice.pooled.threshold)
    caption = "All classes as one. The grey line is the wanted precision, the band what chance allows."
    if advice.ignore_below:
        caption += f" From {advice.ignore_below:g} to the threshold of its class a label is ignored."
    alt = f"Precision and recall from each score on; the common threshold could be {advice.pooled.threshold}."
    return finish(axes, "Precision on images that the teacher did not see", caption, alt)


@styled()
def _class_plots(calibration: TeacherCalibration, advice: Advice) -> list[Plot]:
    curves = next(iter(calibration.curves.values()))
    drawn = []
    for name in sorted(curves, key=lambda name: -curves[name].num_labels[0])[:MAX_SMALL_PLOTS]:
        axes, found = new_axes("score", "", SMALL_INCHES), advice.classes[name]
        _draw_curve(axes, curves[name], calibration, advice)
        mark_threshold(axes, found.threshold)
        alt = f"Precision and recall of {calibration.unit} for {name} from each score on."
        drawn.append(finish(axes, name, _caption(found, calibration), alt, legend=False))
    return drawn


def _caption(found: ClassAdvice, calibration: TeacherCalibration) -> str:
    if found.threshold is None:
        return f"{found.num_missing} more {calibration.trials} are missing"
    return (
        f"from {found.threshold:g}" if found.is_reached else f"not reached; nearest from {found.threshold:g}"
    )


def _draw_curve(axes: Axes, curve: ClassCurve, calibration: TeacherCalibration, advice: Advice) -> None:
    """Draw precision with its interval, recall, and the wanted precision."""
    cuts = calibration.cuts
    readings = [read_curve(curve, cuts, index) for index in range(len(cuts))]
    low, high = np.array([reading.interval for reading in readings]).T
    filled = as_floats(curve.num_labels) > 0
    axes.fill_between(
        np.array(cuts)[filled],
        low[filled],
        high[filled],
        color=ROLE_COLORS["teacher"],
        alpha=0.25,
        linewidth=0,
    )
    precision, recall = (as_floats([r.precision for r in readings]), as_floats([r.recall for r in readings]))
    axes.axhline(advice.precision, color=ROLE_COLORS["rule"], linewidth=1.4)
    axes.plot(cuts, precision, color=ROLE_COLORS["ink"], label="precision")
    axes.plot(cuts, recall, color=ROLE_COLORS["pseudo"], label="recall", linestyle="--")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
