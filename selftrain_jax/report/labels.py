"""How good the pseudo labels are: what plots and tables of any task share.

Precision, recall and calibration need `quality.json`, which exists where the truth of the images is known.
"""

from collections.abc import Callable, Mapping, Sequence

from matplotlib.axes import Axes

from selftrain_jax.html.blocks import Block, Details, Legend, LegendEntry, Note, Section, Table, plots
from selftrain_jax.html.plots import ROLE_COLORS, Plot, finish, new_axes, styled
from selftrain_jax.report.page import MAX_SMALL_PLOTS, SMALL_INCHES, small_multiples
from selftrain_jax.report.workdir import RunFiles, as_floats
from selftrain_jax.run_files.fields import Number
from selftrain_jax.run_files.quality import Calibration, Curve
from selftrain_jax.text import format_value

QUALITY_LEGEND = Legend(
    [
        LegendEntry("precision", "var(--ink)"),
        LegendEntry("recall", "var(--pseudo)", "dashed"),
        LegendEntry("threshold in use", "var(--muted)", "dotted"),
    ]
)


def labels_section(
    run: RunFiles,
    lead: str,
    tables: tuple[Table, Table],
    drawn: list[Plot],
    by_class: list[Plot],
    unit: str,
    by_source: Sequence[Block] = (),
) -> Section:
    """Show the numbers of the pseudo labels, those of every class and source, and the plots."""
    numbers, every_class = tables
    unknown = Note("The truth of these images is not known: no precision, recall or calibration.")
    total = 0 if run.quality is None else len(run.quality.per_class)
    blocks: list[Block] = [
        numbers,
        *([] if run.quality else [unknown]),
        Details("Every class", every_class),
        *by_source,
        *plots(drawn, "label"),
        *small_multiples(by_class, "plc", "By class", total, QUALITY_LEGEND, unit),
    ]
    return Section("labels", "Pseudo labels", lead, blocks)


def reliability(run: RunFiles, unit: str) -> list[Plot]:
    """Plot the reliability of the pseudo labels' scores where the truth is known."""
    return [] if run.quality is None else [reliability_plot(run.quality.calibration, unit)]


@styled()
def reliability_plot(calibration: Calibration, unit: str) -> Plot:
    """Plot the share of right labels against the mean score of their bin; a point's area is their number."""
    scores, precision = as_floats(calibration.mean_score), as_floats(calibration.precision)
    counts = as_floats(calibration.count)
    axes = new_axes("mean score of the bin", f"share of right {unit}")
    axes.plot([0, 1], [0, 1], color=ROLE_COLORS["muted"], linewidth=0.8, linestyle=":", label="perfect")
    filled, color = counts > 0, ROLE_COLORS["pseudo"]
    areas = 8 + 90 * counts[filled] / max(counts.max(), 1)
    axes.plot(scores[filled], precision[filled], color=color, label="teacher")
    axes.scatter(scores[filled], precision[filled], s=areas, color=color, alpha=0.6, linewidths=0)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    error = format_value(calibration.expected_calibration_error)
    caption = "On the dotted line a score of 0.8 means right 8 times in 10. "
    caption += f"Expected calibration error: {error}."
    alt = f"Reliability diagram; calibration error {error}."
    return finish(axes, "Reliability of the scores", caption, alt)


@styled()
def quality_by_class(
    run: RunFiles, threshold: float | None, unit: str, describe: Callable[[int, int], str]
) -> list[Plot]:
    """Plot precision and recall for each of the MAX_SMALL_PLOTS classes with most pseudo labels.

    `describe` makes a caption of a class's number at the threshold and of the sum over all classes.
    """
    if run.quality is None:
        return []
    counts = {} if run.manifest is None else run.manifest.labels.kept_per_class
    sizes = {name: counts.get(name, 0) for name in run.quality.per_class}
    drawn = []
    for name in sorted(sizes, key=lambda name: -sizes[name])[:MAX_SMALL_PLOTS]:
        values = run.quality.per_class[name]
        axes = quality_axes(run.quality.thresholds, values, threshold, SMALL_INCHES)
        caption = describe(sizes[name], sum(sizes.values()))
        alt = f"Precision and recall of pseudo {unit} for {name}."
        drawn.append(finish(axes, name, caption, alt, legend=False))
    return drawn


def quality_axes(
    thresholds: Sequence[Number],
    values: Mapping[str, Curve],
    threshold: float | None,
    size_inches: tuple[float, float],
) -> Axes:
    """Draw precision and recall over the threshold."""
    axes = new_axes("threshold", "", size_inches)
    precision, recall = as_floats(values["precision"]), as_floats(values["recall"])
    axes.plot(thresholds, precision, color=ROLE_COLORS["ink"], label="precision")
    axes.plot(thresholds, recall, color=ROLE_COLORS["pseudo"], label="recall", linestyle="--")
    mark_threshold(axes, threshold)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    return axes


def mark_threshold(axes: Axes, threshold: float | None) -> None:
    """Draw a dotted line where the threshold is."""
    if threshold is not None:
        label, color = f"threshold {threshold:g}", ROLE_COLORS["muted"]
        axes.axvline(threshold, color=color, linewidth=1.0, linestyle=":", label=label)
