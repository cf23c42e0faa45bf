"""Test results beyond one number: precision-recall curves, and who gained by class.

Numbers come from each stage's `evaluation.json` (COCO's definitions); AP is in points of 100.
"""

from typing import Any

import numpy as np

from selftrain_jax.html.plots import LINE_STYLES, ROLE_COLORS, Plot, finish, new_axes, shorten, styled
from selftrain_jax.report.measure import measure_of
from selftrain_jax.report.workdir import Run, as_floats

MAX_SMALL_PLOTS = 12
MAX_BARS = 40
SMALL_INCHES = (3.0, 2.3)


def evaluations(run: Run) -> dict[str, dict[str, Any]]:
    """Give the final evaluations that are there, by stage."""
    return {name: stage.evaluation for name, stage in run.stages.items() if stage.evaluation is not None}


def points(value: float | int | None) -> float:
    """Turn COCO's fraction into points of 100; NaN where it is undefined (-1)."""
    return np.nan if value is None or value < 0 else 100.0 * value


@styled()
def precision_recall(run: Run, key: str, iou_name: str) -> list[Plot]:
    """Plot the mean precision of all classes at each recall, for every stage."""
    curves = {
        name: (evaluation["pr_curves"]["recall"], evaluation["pr_curves"][key])
        for name, evaluation in evaluations(run).items()
    }
    if not curves:
        return []
    axes = _precision_recall_axes(curves, (5.2, 3.1))
    title = f"Precision and recall at IoU {iou_name}"
    caption = "Higher and further right is better; the area under a line is the AP at this IoU."
    return [finish(axes, title, caption, f"{title}, one line each for {', '.join(curves)}.")]


@styled()
def precision_recall_by_class(run: Run) -> list[Plot]:
    """Plot precision over recall at IoU 0.5 for each of the MAX_SMALL_PLOTS classes with most boxes."""
    found = evaluations(run)
    if not found:
        return []
    return [_class_plot(found, name) for name in classes_by_size(run)[:MAX_SMALL_PLOTS]]


def classes_by_size(run: Run) -> list[str]:
    """Name the classes of the test split, those with most boxes (of masks: pixels) first."""
    counts: dict[str, float] = {}
    key = f"num_{measure_of(run).unit}"
    for evaluation in evaluations(run).values():
        counts |= {name: row[key] for name, row in evaluation["per_class"].items()}
    return sorted(counts, key=lambda name: -counts[name])


def class_gains(run: Run, over: str, key: str | None = None) -> dict[str, float]:
    """Subtract each class's number by stage `over` from the student's, where both are defined.

    `key` names the number: by default AP, of masks IoU.
    """
    found, key = evaluations(run), key or measure_of(run).class_key
    if "student" not in found or over not in found:
        return {}
    student, other = found["student"]["per_class"], found[over]["per_class"]
    gains = {
        name: points(row[key]) - points(other[name][key]) for name, row in student.items() if name in other
    }
    return {name: gain for name, gain in gains.items() if np.isfinite(gain)}


@styled()
def class_gain_bars(run: Run) -> list[Plot]:
    """Draw the student's gain in AP (of masks: IoU) over control and teacher for each class, largest first.

    Of more than MAX_BARS classes the best and the worst halves of that many are drawn.
    """
    gains = {over: class_gains(run, over) for over in ("control", "teacher")}
    gains = {over: values for over, values in gains.items() if values}
    if not gains:
        return []
    first = next(iter(gains.values()))
    names = sorted(first, key=lambda name: -first[name])
    cut = len(names) > MAX_BARS
    names = [*names[: MAX_BARS // 2], *names[-MAX_BARS // 2 :]] if cut else names
    measure = measure_of(run)
    label = f"points of {measure.class_name} gained by the student"
    axes = new_axes(label, "", (5.2, 0.8 + 0.34 * len(names)))
    height = 0.8 / len(gains)
    for row, (over, values) in enumerate(gains.items()):
        places = np.arange(len(names)) + (row - (len(gains) - 1) / 2) * height
        axes.barh(
            places,
            [values.get(name, np.nan) for name in names],
            height,
            label=f"over {over}",
            color=ROLE_COLORS[over],
        )
    axes.set_yticks(range(len(names)), [shorten(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.axvline(0, color=ROLE_COLORS["muted"], linewidth=0.8)
    caption = "Bars to the right: pseudo labels helped this class. "
    caption += f"A class with few test {measure.unit} moves by chance."
    caption += f" Only the {MAX_BARS // 2} best and worst classes." if cut else ""
    spoken = ", ".join(f"{name} {first[name]:+.1f}" for name in names)
    alt = f"Gain in {measure.class_name} by class over {next(iter(gains))}: {spoken}."
    return [finish(axes, "Gain by class", caption, alt)]


def _class_plot(found: dict[str, dict[str, Any]], class_name: str) -> Plot:
    curves = {
        name: (evaluation["pr_curves"]["recall"], evaluation["pr_curves"]["per_class_iou50"][class_name])
        for name, evaluation in found.items()
        if class_name in evaluation["pr_curves"]["per_class_iou50"]
    }
    axes = _precision_recall_axes(curves, SMALL_INCHES)
    results = ", ".join(
        f"{name} {points(found[name]['per_class'][class_name]['ap50']):.1f}" for name in curves
    )
    return finish(
        axes,
        class_name,
        f"AP50: {results}",
        f"{class_name}: precision and recall. AP50: {results}.",
        legend=False,
    )


def _precision_recall_axes(
    curves: dict[str, tuple[list[Any], list[Any]]], size_inches: tuple[float, float]
) -> Any:
    axes = new_axes("recall", "precision", size_inches)
    for name, (recall, precision) in curves.items():
        values = as_floats(precision)
        axes.plot(
            as_floats(recall),
            np.where(values < 0, np.nan, values),
            label=name,
            color=ROLE_COLORS[name],
            linestyle=LINE_STYLES[name],
        )
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    return axes
