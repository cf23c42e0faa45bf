"""What happened over the steps of teacher, control and student: scores, losses, the loss normaliser, speed.

Each function gives the plots for which the run has logged values, perhaps none.
"""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from selftrain_jax.html.plots import LINE_STYLES, ROLE_COLORS, Plot, finish, new_step_axes, styled, thin
from selftrain_jax.report.workdir import RunFiles, earlier_steps, series
from selftrain_jax.text import number


@styled()
def learning_curve(run: RunFiles, metric: str, label: str, *, total_steps: bool = True) -> list[Plot]:
    """Plot an evaluation metric, in points of 100 and called `label`, over the steps of every stage.

    With `total_steps` control and student start where the teacher ended, a later round's student where the
    one before it did; without, every stage starts at 0.
    """
    axes = new_step_axes("steps, the teacher's included" if total_steps else "steps of the stage", label)
    ends = []
    for name, stage in run.stages.items():
        steps, values = series(stage, f"eval/{metric}")
        if not len(steps):
            continue
        steps += earlier_steps(run, name) if total_steps else 0
        values = 100 * np.where(values < 0, np.nan, values)
        _draw_line(axes, name, name, steps, values, marker="o", markersize=3)
        ends.append(f"{name} ends at {number(float(values[-1]))}")
        if name == "teacher":
            axes.axhline(float(values[-1]), color=ROLE_COLORS[name], linewidth=0.8, linestyle=":")
    if not ends:
        return []
    axes.set_ylim(bottom=0)
    caption = "The student should end above the control, which saw no pseudo labels. "
    caption += "The dotted line is where the teacher ended."
    title = f"{label} on the evaluation images"
    return [finish(axes, title, caption, f"{title} over steps: {', '.join(ends)}.")]


@styled()
def loss_curve(run: RunFiles, name: str) -> list[Plot]:
    """Plot a stage's loss on human and on pseudo labels over its steps."""
    axes, ends = new_step_axes(f"steps of the {name}", "loss"), []
    for source in ("human", "pseudo"):
        steps, values = series(run.stages[name], f"train/loss_{source}")
        if len(steps) and (source == "human" or np.nansum(values) > 0):
            _draw_line(axes, source, f"{source} labels", steps, values)
            ends.append(f"on {source} labels {values[-1]:.3g} at the end")
    if not ends:
        return []
    top = _readable_top(axes)
    axes.set_ylim(bottom=0, top=top)
    caption = "Should fall and then flatten. Spikes or a rise: too high a learning rate, or bad labels."
    caption += "" if top is None else f" The first values, above {top:.3g}, are cut off."
    return [finish(axes, f"Loss of the {name}", caption, f"Loss of the {name}: {', '.join(ends)}.")]


@styled()
def share_by_source(run: RunFiles, key: str, y_label: str, title: str, caption: str) -> list[Plot]:
    """Plot what the student logged as `<key>_human` and `<key>_pseudo`, which are shares."""
    axes, ends = new_step_axes("steps of the student", y_label), []
    for source in ("human", "pseudo"):
        steps, values = series(run.stages["student"], f"{key}_{source}")
        if len(steps):
            _draw_line(axes, source, f"{source} labels", steps, values)
            ends.append(f"{source} {values[-1]:.3g} at the end")
    if not ends:
        return []
    axes.set_ylim(0, 1.02)
    return [finish(axes, title, caption, f"{title} of the student: {', '.join(ends)}.")]


@styled()
def loss_norm_averages(run: RunFiles) -> list[Plot]:
    """Plot the student's moving averages of both losses. Paper: appendix B."""
    axes = new_step_axes("steps of the student", "moving average of the loss")
    for source in ("human", "pseudo"):
        steps, values = series(run.stages["student"], f"loss_norm/{source}_average")
        if len(steps):
            _draw_line(axes, source, source, steps, values)
    if not axes.lines:
        return []
    axes.set_ylim(bottom=0)
    caption = "The pseudo loss is scaled by the ratio of these two averages (appendix B of the paper)."
    title = "Averages of the loss normaliser"
    return [finish(axes, title, caption, f"{title}, human and pseudo, over the student's steps.")]


@styled()
def loss_norm_ratio(run: RunFiles) -> list[Plot]:
    """Plot the ratio by which the student's pseudo loss is scaled. Paper: appendix B."""
    steps, values = thin(*series(run.stages["student"], "loss_norm/ratio"))
    if not len(steps):
        return []
    axes = new_step_axes("steps of the student", "human average / pseudo average")
    axes.plot(steps, values, color=ROLE_COLORS["student"])
    axes.axhline(1.0, color=ROLE_COLORS["muted"], linewidth=0.8, linestyle=":")
    caption = "Near 1 both sources weigh alike as they are. A steady drift means that one is being memorised."
    alt = f"Ratio of the loss averages over the student's steps, {values[-1]:.2f} at the end."
    return [finish(axes, "Ratio of the loss normaliser", caption, alt, legend=False)]


@styled()
def speed_curve(run: RunFiles) -> list[Plot]:
    """Plot the images a second of every stage over its steps."""
    caption = "Should be level. A dip that lasts is a slow disk or a machine that is shared."
    return _all_stages(run, "speed/images_per_second", "images per second", "Training speed", caption)


@styled()
def data_wait_curve(run: RunFiles) -> list[Plot]:
    """Plot the share of the time in which the accelerator waited for images."""
    caption = "Near 0 is good. Above about 0.1 the input pipeline, not the network, sets the pace."
    return _all_stages(run, "speed/data_wait_share", "share of time", "Waiting for data", caption)


def _all_stages(run: RunFiles, key: str, y_label: str, title: str, caption: str) -> list[Plot]:
    axes, ends = new_step_axes("steps of the stage", y_label), []
    for name, stage in run.stages.items():
        steps, values = series(stage, key)
        steps, values = steps[np.isfinite(values)], values[np.isfinite(values)]
        if len(steps):
            _draw_line(axes, name, name, steps, values)
            ends.append(f"{name} median {np.median(values):.3g}")
    if not ends:
        return []
    axes.set_ylim(bottom=0)
    return [finish(axes, title, caption, f"{title}, {y_label}: {', '.join(ends)}.")]


def _draw_line(
    axes: Axes, role: str, label: str, steps: np.ndarray, values: np.ndarray, **style: Any
) -> None:
    color, dashes = ROLE_COLORS[role], LINE_STYLES[role]
    axes.plot(*thin(steps, values), label=label, color=color, linestyle=dashes, **style)


def _readable_top(axes: Axes) -> float | None:
    """Cut the axis above the bulk of the values, so that the first few steps do not flatten all others."""
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.lines])
    values = values[np.isfinite(values)]
    if len(values) < 20:
        return None
    bulk = 2.0 * float(np.percentile(values, 90))
    return bulk if 0 < bulk < values.max() else None
