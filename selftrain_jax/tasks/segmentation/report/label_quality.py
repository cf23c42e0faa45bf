"""How good the pseudo masks are: confidence, coverage, precision, recall and mIoU against the threshold.

Confidence, coverage and class shares come with every pseudo mask (`manifest.json`); the rest needs
`quality.json`, which exists where the truth of the images is known. Paper: Section 3.1, threshold 0.5.
"""

import numpy as np

from selftrain_jax.html import markup
from selftrain_jax.html.plots import ROLE_COLORS, Plot, finish, new_axes, shorten, styled
from selftrain_jax.report.class_results import (
    MAX_BARS,
    MAX_SMALL_PLOTS,
    SMALL_INCHES,
    classes_by_size,
    evaluations,
)
from selftrain_jax.report.workdir import Run, as_floats
from selftrain_jax.tasks.detection.report.label_quality import mark_threshold, quality_axes, said


@styled()
def confidence_histogram(run: Run, threshold: float | None) -> list[Plot]:
    """Draw which share of the pixels got each confidence."""
    if run.manifest is None:
        return []
    counts = as_floats(run.manifest["confidence_histogram"]["counts"])
    edges = as_floats(run.manifest["confidence_histogram"]["edges"])
    axes = new_axes("confidence", "share of pixels")
    shares = counts / max(counts.sum(), 1)
    axes.stairs(shares, edges, fill=True, color=ROLE_COLORS["pseudo"], alpha=0.75)
    mark_threshold(axes, threshold)
    axes.set_xlim(0, 1)
    caption = "Pixels left of the line are ignored. Nearly all at the right end: "
    caption += "a sure teacher, not yet a right one."
    alt = f"Confidence of {counts.sum():,.0f} pixels; {percent(shares[-1])} of them are in the last bin."
    return [finish(axes, "Confidence of the teacher's pixels", caption, alt)]


@styled()
def coverage_by_threshold(run: Run, threshold: float | None) -> list[Plot]:
    """Plot the share of pixels kept against the threshold, the one in use marked."""
    if run.manifest is None:
        return []
    curve = run.manifest["coverage_by_threshold"]
    axes = new_axes("threshold", "share of pixels kept")
    axes.plot(
        curve["thresholds"], as_floats(curve["coverage"]), color=ROLE_COLORS["pseudo"], label="coverage"
    )
    mark_threshold(axes, threshold)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    caption = (
        "What a higher threshold would take from the student. Flat up to the line: little is lost by it."
    )
    kept = said(run.manifest["coverage"])
    alt = f"Coverage falls with the threshold; at the one in use it is {kept}."
    return [finish(axes, "Coverage of the pseudo masks", caption, alt)]


@styled()
def quality_by_threshold(run: Run, threshold: float | None) -> list[Plot]:
    """Plot precision, recall and mIoU of the pixels kept against the threshold."""
    if run.quality is None:
        return []
    overall = run.quality["overall"]
    axes = quality_axes(run.quality["thresholds"], overall, None, (5.2, 3.1))
    miou = as_floats(overall["miou"])
    axes.plot(
        run.quality["thresholds"], miou, color=ROLE_COLORS["human"], linestyle=":", label="mIoU of the kept"
    )
    mark_threshold(axes, threshold)
    caption = "Precision: kept pixels that are right. Recall: pixels that are kept and right. "
    caption += "mIoU is of kept pixels alone: it may fall where small classes are the unsure ones."
    if bad := run.quality.get("bad_truth", 0):
        images = "image" if bad == 1 else "images"
        caption += f" Left out: {bad:,} {images} whose true mask is bad; --job=doctor names them."
    at = run.quality["at_threshold"]
    values = ", ".join(f"{name} {said(at[name])}" for name in ("precision", "recall", "miou", "coverage"))
    return [
        finish(
            axes, "Quality of the pseudo masks", caption, f"At the threshold {at['threshold']:g}: {values}."
        )
    ]


@styled()
def precision_by_coverage(run: Run) -> list[Plot]:
    """Plot precision against coverage as the threshold moves, with a point at the threshold in use."""
    if run.quality is None:
        return []
    overall, at = run.quality["overall"], run.quality["at_threshold"]
    axes = new_axes("share of pixels kept", "share of them that is right")
    axes.plot(as_floats(overall["coverage"]), as_floats(overall["precision"]), color=ROLE_COLORS["ink"])
    if at["coverage"] is not None and at["precision"] is not None:
        axes.plot(
            [at["coverage"]],
            [at["precision"]],
            "o",
            color=ROLE_COLORS["pseudo"],
            label=f"threshold {at['threshold']:g}",
        )
    axes.set_xlim(0, 1.02)
    caption = (
        "From right to left the threshold rises. Where the line is flat a higher one only takes pixels away."
    )
    alt = f"At the threshold coverage is {said(at['coverage'])} and precision {said(at['precision'])}."
    return [finish(axes, "Precision against coverage", caption, alt)]


@styled()
def quality_by_class(run: Run, threshold: float | None) -> list[Plot]:
    """Plot precision and recall for each of the MAX_SMALL_PLOTS classes with most pseudo pixels."""
    if run.quality is None:
        return []
    counts = {} if run.manifest is None else run.manifest["per_class"]
    size = {name: counts.get(name, {}).get("pixels_at_threshold", 0) for name in run.quality["per_class"]}
    total = max(sum(size.values()), 1)
    plots = []
    for name in sorted(size, key=lambda name: -size[name])[:MAX_SMALL_PLOTS]:
        axes = quality_axes(
            run.quality["thresholds"], run.quality["per_class"][name], threshold, SMALL_INCHES
        )
        caption = f"{percent(size[name] / total)} of the pixels kept"
        alt = f"Precision and recall of pseudo pixels for {name}."
        plots.append(finish(axes, name, caption, alt, legend=False))
    return plots


@styled()
def class_shares(run: Run) -> list[Plot]:
    """Draw each class's share of the pixels on a logarithmic axis: human labels beside pseudo labels kept."""
    human, pseudo = human_shares(run), pseudo_shares(run)
    names = [name for name in classes_by_size(run) if human.get(name, 0) > 0][:MAX_BARS]
    if not names or not pseudo:
        return []
    axes = new_axes("percent of the labelled pixels", "", (5.2, 0.9 + 0.26 * len(names)))
    for row, name in enumerate(names):
        if pseudo.get(name, 0) > 0:
            ends = [100 * human[name], 100 * pseudo[name]]
            axes.plot(ends, [row, row], color=ROLE_COLORS["rule"], linewidth=2.5, zorder=1)
    for source, shares, marker in (("human", human, "o"), ("pseudo", pseudo, "D")):
        values = [100 * shares.get(name, 0) or np.nan for name in names]
        color = ROLE_COLORS[source]
        axes.plot(
            values, range(len(names)), marker, color=color, markersize=5, label=f"{source} labels", zorder=2
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_yticks(range(len(names)), [shorten(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    caption = "Human labels are those of the test split. Pseudo far to the left of human: the teacher "
    caption += "overlooks the class or is unsure of it; without a pseudo point it never finds it."
    spoken = ", ".join(f"{name} {percent(human[name])} and {percent(pseudo.get(name, 0))}" for name in names)
    return [finish(axes, "Share of each class", caption, f"Share of pixels, human and pseudo: {spoken}.")]


def human_shares(run: Run) -> dict[str, float]:
    """Give each class's share of the test split's labelled pixels."""
    for evaluation in evaluations(run).values():
        counts = {name: row["num_pixels"] for name, row in evaluation["per_class"].items()}
        return {name: count / max(sum(counts.values()), 1) for name, count in counts.items()}
    return {}


def pseudo_shares(run: Run) -> dict[str, float]:
    """Give each class's share of the pseudo pixels at the threshold."""
    counts = {
        name: row["pixels_at_threshold"] for name, row in (run.manifest or {}).get("per_class", {}).items()
    }
    return {name: count / max(sum(counts.values()), 1) for name, count in counts.items()}


def percent(share: float | None, digits: int | None = None) -> str:
    """Write a share in percent, with `digits` after the point or to about two in all."""
    if share is None or not np.isfinite(share):
        return markup.NO_VALUE
    if digits is None and 0 < share < 0.01:
        return f"{100 * share:.2g} %"
    places = (1 if 0 < share < 0.1 else 0) if digits is None else digits
    return f"{100 * share:.{places}f} %"
