"""Precision over recall of all classes and of each, and the AP of every class (COCO's definitions)."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from selftrain_jax.html.blocks import Legend, LegendEntry, Section, Table, plots
from selftrain_jax.html.plots import LINE_STYLES, ROLE_COLORS, Plot, finish, new_axes, styled
from selftrain_jax.report.page import MAX_SMALL_PLOTS, SMALL_INCHES, small_multiples
from selftrain_jax.report.results import classes_by_size
from selftrain_jax.report.workdir import RunFiles, as_floats, evaluations, points
from selftrain_jax.run_files.evaluation import Evaluation
from selftrain_jax.run_files.fields import Number
from selftrain_jax.tasks.detection.run_files import BoxDetails
from selftrain_jax.text import number

STAGE_LEGEND = (
    LegendEntry("teacher", "var(--teacher)"),
    LegendEntry("control", "var(--control)", "dashed"),
    LegendEntry("control_half", "var(--control_half)", "dotted"),
    LegendEntry("oracle", "var(--oracle)", "dashed"),
    LegendEntry("student", "var(--student)"),
)


def precision_recall_section(run: RunFiles) -> Section:
    """Show precision-recall curves of all classes and of each."""
    lead = "Where a line ends early, objects are never found; where it starts low, confident boxes are wrong."
    drawn = [
        *precision_recall(run, "precision_iou50", "0.5"),
        *precision_recall(run, "precision_iou75", "0.75"),
    ]
    legend = Legend([entry for entry in STAGE_LEGEND if entry.name in evaluations(run)])
    by_class, total = precision_recall_by_class(run), len(classes_by_size(run, "boxes"))
    multiples = small_multiples(by_class, "prc", "By class, at IoU 0.5", total, legend, "boxes")
    return Section("precision-recall", "Precision and recall", lead, [*plots(drawn, "pr"), *multiples])


@styled()
def precision_recall(run: RunFiles, key: str, iou: str) -> list[Plot]:
    """Plot the mean precision of all classes at each recall, for every stage."""
    curves = {
        name: (evaluation.details.pr_curves.recall, getattr(evaluation.details.pr_curves, key))
        for name, evaluation in evaluations(run).items()
    }
    if not curves:
        return []
    axes = _draw_curves(curves, (5.2, 3.1))
    title = f"Precision and recall at IoU {iou}"
    caption = "Higher and further right is better; the area under a line is the AP at this IoU."
    return [finish(axes, title, caption, f"{title}, one line each for {', '.join(curves)}.")]


@styled()
def precision_recall_by_class(run: RunFiles) -> list[Plot]:
    """Plot precision over recall at IoU 0.5 for each of the MAX_SMALL_PLOTS classes with most boxes."""
    return [_class_plot(evaluations(run), name) for name in classes_by_size(run, "boxes")[:MAX_SMALL_PLOTS]]


def class_table(run: RunFiles) -> Table:
    """List AP and AP50 of every class and stage, classes with most test boxes first."""
    stages = evaluations(run)
    rows = []
    for name in classes_by_size(run, "boxes"):
        known = [evaluation.per_class.get(name, {}) for evaluation in stages.values()]
        boxes = number(max(entry.get("num_boxes", 0) for entry in known), 0)
        scores = [number(points(entry.get(key))) for key in ("ap", "ap50") for entry in known]
        rows.append([name, boxes, *scores])
    return Table(["", "boxes", *(f"{stage} {label}" for label in ("AP", "AP50") for stage in stages)], rows)


def _class_plot(stages: Mapping[str, Evaluation[BoxDetails]], class_name: str) -> Plot:
    all_curves = {name: evaluation.details.pr_curves for name, evaluation in stages.items()}
    curves = {
        name: (known.recall, known.per_class_iou50[class_name])
        for name, known in all_curves.items()
        if class_name in known.per_class_iou50
    }
    axes = _draw_curves(curves, SMALL_INCHES)
    scores = {name: points(stages[name].per_class[class_name]["ap50"]) for name in curves}
    caption = "AP50: " + ", ".join(f"{name} {score:.1f}" for name, score in scores.items())
    return finish(axes, class_name, caption, f"{class_name}: precision and recall. {caption}.", legend=False)


def _draw_curves(
    curves: Mapping[str, tuple[Sequence[Number], Sequence[Number]]], size_inches: tuple[float, float]
) -> Axes:
    axes = new_axes("recall", "precision", size_inches)
    for name, (recall, precision) in curves.items():
        values = as_floats(precision)
        values = np.where(values < 0, np.nan, values)
        color, style = ROLE_COLORS[name], LINE_STYLES[name]
        axes.plot(as_floats(recall), values, label=name, color=color, linestyle=style)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    return axes
