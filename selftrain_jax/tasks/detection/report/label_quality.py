"""How good the pseudo labels are: scores, precision, recall, calibration, and statistics beside human labels.

All but scores and statistics need `quality.json`, which exists where the truth of the images is known.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from selftrain_jax.html.plots import LINE_STYLES, ROLE_COLORS, Plot, finish, new_axes, styled
from selftrain_jax.report.class_results import MAX_SMALL_PLOTS, SMALL_INCHES
from selftrain_jax.report.measure import measure_of
from selftrain_jax.report.workdir import Run, as_floats


class BoxStatistics(NamedTuple):
    """Of a set of labelled images: the boxes in each image, and the size of each box."""

    boxes_per_image: Float[np.ndarray, " I"]
    sizes_px: Float[np.ndarray, " N"]  # square root of the area


@styled()
def score_histogram(run: Run, threshold: float | None) -> list[Plot]:
    """Draw how many boxes the teacher gave each score, from the floor on."""
    if run.manifest is None:
        return []
    histogram = run.manifest["score_histogram"]
    axes = new_axes("score", "boxes")
    axes.stairs(
        as_floats(histogram["counts"]),
        as_floats(histogram["edges"]),
        fill=True,
        color=ROLE_COLORS["pseudo"],
        alpha=0.75,
    )
    mark_threshold(axes, threshold)
    caption = (
        "Boxes right of the line became labels. Many just left of it: a slightly lower threshold adds a lot."
    )
    kept, total = run.manifest["num_boxes_at_threshold"], run.manifest["num_boxes"]
    alt = f"Histogram of the scores of {total} boxes, of which {kept} lie at or above the threshold."
    return [finish(axes, "Scores of the teacher's boxes", caption, alt)]


@styled()
def quality_by_threshold(run: Run, threshold: float | None) -> list[Plot]:
    """Plot precision and recall of the pseudo labels against the threshold, the one in use marked."""
    if run.quality is None:
        return []
    axes = quality_axes(run.quality["thresholds"], run.quality["overall"], threshold, (5.2, 3.1))
    caption = (
        "Precision should be high where the threshold stands; what recall lacks, the student is not told."
    )
    at = run.quality["at_threshold"]
    values = f"precision {said(at['precision'])}, recall {said(at['recall'])}"
    alt = f"At the threshold {at['threshold']:g}: {values}."
    return [finish(axes, "Precision and recall of the pseudo labels", caption, alt)]


@styled()
def quality_by_class(run: Run, threshold: float | None) -> list[Plot]:
    """Plot the same for each of the MAX_SMALL_PLOTS classes with most pseudo boxes."""
    if run.quality is None:
        return []
    counts = {} if run.manifest is None else run.manifest["per_class"]
    size = {name: counts.get(name, {}).get("boxes_at_threshold", 0) for name in run.quality["per_class"]}
    plots = []
    for name in sorted(size, key=lambda name: -size[name])[:MAX_SMALL_PLOTS]:
        axes = quality_axes(
            run.quality["thresholds"], run.quality["per_class"][name], threshold, SMALL_INCHES
        )
        caption = f"{size[name]:,} boxes at the threshold"
        plots.append(
            finish(axes, name, caption, f"Precision and recall of pseudo labels for {name}.", legend=False)
        )
    return plots


@styled()
def reliability(run: Run) -> list[Plot]:
    """Plot the share of right labels against the mean score of their bin; a point's area is their number."""
    if run.quality is None:
        return []
    calibration = run.quality["calibration"]
    scores, precision = as_floats(calibration["mean_score"]), as_floats(calibration["precision"])
    counts = as_floats(calibration["count"])
    axes = new_axes("mean score of the bin", f"share of right {measure_of(run).unit}")
    axes.plot([0, 1], [0, 1], color=ROLE_COLORS["muted"], linewidth=0.8, linestyle=":", label="perfect")
    filled = counts > 0
    axes.plot(scores[filled], precision[filled], color=ROLE_COLORS["pseudo"], label="teacher")
    axes.scatter(
        scores[filled],
        precision[filled],
        s=8 + 90 * counts[filled] / max(counts.max(), 1),
        color=ROLE_COLORS["pseudo"],
        alpha=0.6,
        linewidths=0,
    )
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    error = said(calibration["expected_calibration_error"])
    caption = (
        f"On the dotted line a score of 0.8 means right 8 times in 10. Expected calibration error: {error}."
    )
    return [
        finish(axes, "Reliability of the scores", caption, f"Reliability diagram; calibration error {error}.")
    ]


@styled()
def boxes_per_image(human: BoxStatistics | None, pseudo: BoxStatistics | None) -> list[Plot]:
    """Draw the share of images by their number of boxes, human beside pseudo."""
    sets = {name: stats.boxes_per_image for name, stats in _given(human, pseudo).items()}
    if not sets:
        return []
    top = int(max(np.percentile(counts, 99.5) for counts in sets.values())) + 2
    edges = np.unique(np.linspace(0, top, min(top, 40) + 1).round()) - 0.5
    caption = "Alike is good. Pseudo labels with far fewer boxes mean that the threshold hides objects."
    return [_histograms(sets, edges, "boxes in the image", "share of images", "Boxes per image", caption)]


@styled()
def box_sizes(human: BoxStatistics | None, pseudo: BoxStatistics | None) -> list[Plot]:
    """Draw the share of boxes by size on a logarithmic axis, human beside pseudo."""
    sets = {name: stats.sizes_px for name, stats in _given(human, pseudo).items() if len(stats.sizes_px)}
    if not sets:
        return []
    low = max(1.0, min(float(sizes.min()) for sizes in sets.values()))
    high = max(low + 1.0, max(float(sizes.max()) for sizes in sets.values()))
    edges = np.geomspace(low, high * 1.001, 31)
    caption = (
        "Human labels are those of the test split. Missing small sizes: the teacher overlooks small objects."
    )
    plot = _histograms(sets, edges, "square root of the box area, px", "share of boxes", "Box sizes", caption)
    axes = plot.figure.axes[0]
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    return [plot]


def _histograms(
    sets: dict[str, np.ndarray], edges: np.ndarray, x_label: str, y_label: str, title: str, caption: str
) -> Plot:
    axes = new_axes(x_label, y_label)
    for name, values in sets.items():
        shares = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / max(len(values), 1)
        axes.stairs(
            shares,
            edges,
            color=ROLE_COLORS[name],
            linestyle=LINE_STYLES[name],
            linewidth=1.6,
            label=f"{name} labels",
        )
    medians = ", ".join(f"{name} median {np.median(values):.3g}" for name, values in sets.items())
    return finish(axes, title, caption, f"{title}: {medians}.")


def _given(human: BoxStatistics | None, pseudo: BoxStatistics | None) -> dict[str, BoxStatistics]:
    sets = {"human": human, "pseudo": pseudo}
    return {name: stats for name, stats in sets.items() if stats is not None and len(stats.boxes_per_image)}


def quality_axes(
    thresholds: list[float],
    values: dict[str, list[Any]],
    threshold: float | None,
    size_inches: tuple[float, float],
) -> Axes:
    """Draw precision and recall over the threshold."""
    axes = new_axes("threshold", "", size_inches)
    axes.plot(thresholds, as_floats(values["precision"]), color=ROLE_COLORS["ink"], label="precision")
    axes.plot(
        thresholds, as_floats(values["recall"]), color=ROLE_COLORS["pseudo"], label="recall", linestyle="--"
    )
    mark_threshold(axes, threshold)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    return axes


def mark_threshold(axes: Axes, threshold: float | None) -> None:
    """Draw a dotted line where the threshold is."""
    if threshold is not None:
        axes.axvline(
            threshold,
            color=ROLE_COLORS["muted"],
            linewidth=1.0,
            linestyle=":",
            label=f"threshold {threshold:g}",
        )


def said(value: float | int | None) -> str:
    """Write a share for a sentence."""
    return "undefined" if value is None else f"{value:.3f}"
