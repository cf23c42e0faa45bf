"""How good the pseudo masks are: confidence, coverage, precision, recall and mIoU against the threshold.

Confidence, coverage and class shares come with every pseudo mask (`manifest.json`); the rest needs
`quality.json`, which exists where the truth of the images is known. Paper: Section 3.1, threshold 0.5.
"""

import numpy as np

from selftrain_jax.html.blocks import Table
from selftrain_jax.html.plots import ROLE_COLORS, Plot, finish, new_axes, shorten, styled
from selftrain_jax.report import labels
from selftrain_jax.report.labels import mark_threshold, quality_axes
from selftrain_jax.report.results import MAX_BARS, classes_by_size
from selftrain_jax.report.workdir import RunFiles, as_floats, evaluations
from selftrain_jax.run_files.manifest import Manifest
from selftrain_jax.run_files.quality import Quality
from selftrain_jax.tasks.segmentation.run_files import MaskTotals
from selftrain_jax.text import format_value, number, percent

QUALITY_WORDS = {
    "precision": "precision, the share of kept pixels that is right",
    "recall": "recall, the share of pixels that is kept and right",
    "miou": "mIoU of the kept pixels",
}


@styled()
def confidence_histogram(run: RunFiles, threshold: float | None) -> list[Plot]:
    """Draw which share of the pixels got each confidence."""
    if run.manifest is None:
        return []
    counts = as_floats(run.manifest.labels.confidence_histogram.counts)
    edges = as_floats(run.manifest.labels.confidence_histogram.edges)
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
def coverage_by_threshold(run: RunFiles, threshold: float | None) -> list[Plot]:
    """Plot the share of pixels kept against the threshold, the one in use marked."""
    if run.manifest is None or (curve := run.manifest.labels.coverage_by_threshold) is None:
        return []
    axes = new_axes("threshold", "share of pixels kept")
    axes.plot(curve.thresholds, as_floats(curve.coverage), color=ROLE_COLORS["pseudo"], label="coverage")
    mark_threshold(axes, threshold)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    caption = "What a higher threshold would take from the student. "
    caption += "Flat up to the line: little is lost by it."
    kept = format_value(run.manifest.labels.coverage)
    alt = f"Coverage falls with the threshold; at the one in use it is {kept}."
    return [finish(axes, "Coverage of the pseudo masks", caption, alt)]


@styled()
def quality_by_threshold(run: RunFiles, threshold: float | None) -> list[Plot]:
    """Plot precision, recall and mIoU of the pixels kept against the threshold."""
    if run.quality is None:
        return []
    thresholds, overall = run.quality.thresholds, run.quality.overall
    axes = quality_axes(thresholds, overall, None, (5.2, 3.1))
    color, miou = ROLE_COLORS["human"], as_floats(overall["miou"])
    axes.plot(thresholds, miou, color=color, linestyle=":", label="mIoU of the kept")
    mark_threshold(axes, threshold)
    caption = "Precision: kept pixels that are right. Recall: pixels that are kept and right. "
    caption += "mIoU is of kept pixels alone: it may fall where small classes are the unsure ones."
    if bad := run.quality.bad_truth:
        images = "image" if bad == 1 else "images"
        caption += f" Left out: {bad:,} {images} whose true mask is bad; --job=doctor names them."
    at, named = run.quality.at_threshold, ("precision", "recall", "miou", "coverage")
    values = ", ".join(f"{name} {format_value(at[name])}" for name in named)
    alt = f"At the threshold {at['threshold']:g}: {values}."
    return [finish(axes, "Quality of the pseudo masks", caption, alt)]


@styled()
def precision_by_coverage(run: RunFiles) -> list[Plot]:
    """Plot precision against coverage as the threshold moves, with a point at the threshold in use."""
    if run.quality is None:
        return []
    overall, at = run.quality.overall, run.quality.at_threshold
    axes = new_axes("share of pixels kept", "share of them that is right")
    axes.plot(as_floats(overall["coverage"]), as_floats(overall["precision"]), color=ROLE_COLORS["ink"])
    if at["coverage"] is not None and at["precision"] is not None:
        label, color = f"threshold {at['threshold']:g}", ROLE_COLORS["pseudo"]
        axes.plot([at["coverage"]], [at["precision"]], "o", color=color, label=label)
    axes.set_xlim(0, 1.02)
    caption = "From right to left the threshold rises. "
    caption += "Where the line is flat a higher one only takes pixels away."
    coverage, precision = format_value(at["coverage"]), format_value(at["precision"])
    alt = f"At the threshold coverage is {coverage} and precision {precision}."
    return [finish(axes, "Precision against coverage", caption, alt)]


def quality_by_class(run: RunFiles, threshold: float | None) -> list[Plot]:
    """Plot precision and recall for the classes with most pseudo pixels."""
    return labels.quality_by_class(
        run, threshold, "pixels", lambda count, total: f"{percent(count / max(total, 1))} of the pixels kept"
    )


@styled()
def class_shares(run: RunFiles) -> list[Plot]:
    """Draw each class's share of the pixels on a logarithmic axis: human labels beside pseudo labels kept."""
    human, pseudo = human_shares(run), pseudo_shares(run)
    names = [name for name in classes_by_size(run, "pixels") if human.get(name, 0) > 0][:MAX_BARS]
    if not names or not pseudo:
        return []
    axes = new_axes("percent of the labelled pixels", "", (5.2, 0.9 + 0.26 * len(names)))
    for row, name in enumerate(names):
        if pseudo.get(name, 0) > 0:
            ends = [100 * human[name], 100 * pseudo[name]]
            axes.plot(ends, [row, row], color=ROLE_COLORS["rule"], linewidth=2.5, zorder=1)
    for source, shares, marker in (("human", human, "o"), ("pseudo", pseudo, "D")):
        values = [100 * shares.get(name, 0) or np.nan for name in names]
        label, color = f"{source} labels", ROLE_COLORS[source]
        axes.plot(values, range(len(names)), marker, color=color, markersize=5, label=label, zorder=2)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_yticks(range(len(names)), [shorten(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    caption = "Human labels are those of the test split. Pseudo far to the left of human: the teacher "
    caption += "overlooks the class or is unsure of it; without a pseudo point it never finds it."
    both = [f"{name} {percent(human[name])} and {percent(pseudo.get(name, 0))}" for name in names]
    alt = f"Share of pixels, human and pseudo: {', '.join(both)}."
    return [finish(axes, "Share of each class", caption, alt)]


def human_shares(run: RunFiles) -> dict[str, float]:
    """Give each class's share of the test split's labelled pixels."""
    for evaluation in evaluations(run).values():
        counts = {name: entry["num_pixels"] for name, entry in evaluation.per_class.items()}
        return {name: count / max(sum(counts.values()), 1) for name, count in counts.items()}
    return {}


def pseudo_shares(run: RunFiles) -> dict[str, float]:
    """Give each class's share of the pseudo pixels at the threshold."""
    counts = {} if run.manifest is None else run.manifest.labels.kept_per_class
    return {name: count / max(sum(counts.values()), 1) for name, count in counts.items()}


def label_table(manifest: Manifest[MaskTotals], quality: Quality | None) -> Table:
    """List the numbers of the pseudo masks, with their quality where it is known."""
    pixels = manifest.labels
    rows = [
        ["images labelled", number(manifest.num_images, 0)],
        ["images that could not be read", number(manifest.num_bad_images, 0)],
        ["pixels", number(pixels.num_pixels, 0)],
        [f"pixels from the threshold {manifest.threshold:g} on", number(pixels.num_kept, 0)],
        ["coverage, the share of pixels kept", percent(pixels.coverage, 1)],
        ["images without any pixel kept", number(pixels.images_without_pixels_at_threshold, 0)],
    ]
    at = {} if quality is None else quality.at_threshold
    rows += [[text, percent(at[key], 1)] for key, text in QUALITY_WORDS.items() if key in at]
    return Table(["", ""], rows)


def label_class_table(run: RunFiles, pixels: MaskTotals) -> Table:
    """List the pseudo pixels of every class, the most frequent first, beside the human labels' shares."""
    human, pseudo = human_shares(run), pseudo_shares(run)
    ranked = sorted(pixels.per_class.items(), key=lambda item: -item[1].pixels_at_threshold)
    rows = [
        [
            name,
            number(counts.pixels, 0),
            number(counts.pixels_at_threshold, 0),
            percent(counts.pixels_at_threshold / counts.pixels if counts.pixels else None),
            percent(pseudo[name]),
            percent(human.get(name)),
        ]
        for name, counts in ranked
    ]
    header = ["", "pixels", "kept", "share kept", "share of all kept", "share in human labels"]
    return Table(header, rows)
