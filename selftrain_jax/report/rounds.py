"""Rounds of labels and student: what each reached on val and test, and how good its labels were.

Call `rounds_section`. Round 0 is the teacher, which was trained on human labels alone.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from selftrain_jax.html.blocks import Note, Section, Table, plots
from selftrain_jax.html.plots import LINE_STYLES, ROLE_COLORS, Plot, finish, new_axes, styled
from selftrain_jax.report.workdir import (
    LabelFiles,
    RoundFiles,
    RunFiles,
    StageFiles,
    as_floats,
    counted_control,
    points,
    series,
    stage_points,
)
from selftrain_jax.run_files.arms import COMPARED
from selftrain_jax.run_files.fields import Number
from selftrain_jax.text import NO_VALUE, number


def rounds_section(run: RunFiles, key: str, label: str) -> Section:
    """Compare the rounds of a run by the metric `key` of an evaluation, called `label`."""
    lead = "A round's student is the next round's teacher. The control saw no pseudo labels and was trained "
    lead += "for as many steps as all students together."
    if not run.rounds:
        return Section("rounds", "Rounds", lead, [])
    drawn = [*score_by_round(run, key, label), *quality_by_round(run)]
    return Section(
        "rounds", "Rounds", lead, [rounds_table(run, key, label), *_notes(run), *plots(drawn, "round")]
    )


def rounds_table(run: RunFiles, key: str, label: str) -> Table:
    """List what the teacher, every round's student and its controls reached, and the labels of each round."""
    manifests = [entry.labels.manifest for entry in run.rounds]
    units = [manifest.labels.unit for manifest in manifests if manifest is not None]
    header = ["", f"{label} on val", f"{label} on test", "steps"]
    header += [f"labels ({units[0] if units else 'number'})", "precision", "recall"]
    rows = [["teacher", *_stage_cells(run.stages["teacher"], logged_val(run.stages["teacher"], key), key)]]
    for entry in run.rounds:
        cells = [*_stage_cells(entry.student, points(entry.val), key), *_label_cells(entry.labels)]
        rows.append(
            [f"round {entry.number}, kept" if is_kept(run, entry) else f"round {entry.number}", *cells]
        )
    for name in ("control", *(other for other in COMPARED[1:] if run.stages[other].metrics)):
        rows.append([name, *_stage_cells(run.stages[name], logged_val(run.stages[name], key), key)])
    rows = [[*row, *[""] * (len(header) - len(row))] for row in rows]
    return Table(header, rows, [place for place, entry in enumerate(run.rounds, 1) if is_kept(run, entry)])


@styled()
def score_by_round(run: RunFiles, key: str, label: str) -> list[Plot]:
    """Plot the students' score on val and test over the rounds; the controls' on test are lines."""
    teacher = run.stages["teacher"]
    numbers = [0, *(entry.number for entry in run.rounds)]
    test = as_floats(
        [stage_points(teacher, key), *(stage_points(entry.student, key) for entry in run.rounds)]
    )
    val = as_floats([logged_val(teacher, key), *(points(entry.val) for entry in run.rounds)])
    axes = _round_axes(label, numbers)
    color, muted = ROLE_COLORS["student"], ROLE_COLORS["muted"]
    axes.plot(numbers, val, color=muted, linestyle="--", marker="o", markersize=4, label="student on val")
    axes.plot(numbers, test, color=color, marker="o", markersize=5, label="student on test")
    for name in COMPARED:
        if np.isfinite(score := stage_points(run.stages[name], key)):
            dashes: Any = LINE_STYLES[name]
            axes.axhline(score, color=ROLE_COLORS[name], linestyle=dashes, label=f"{name} on test")
    control = stage_points(run.stages[counted_control(run, key)], key)
    axes.plot([run.kept_round], [test[run.kept_round]], "o", markersize=12, color=color, fillstyle="none")
    caption = "Round 0 is the teacher; the ring is the round that is kept. Rounds help as long as val rises, "
    caption += "and only as far as the students stay above the control."
    reached = ", ".join(f"round {place} {number(value)}" for place, value in zip(numbers, test, strict=True))
    return [
        finish(axes, f"{label} by round", caption, f"{label} on test: {reached}, control {number(control)}.")
    ]


@styled()
def quality_by_round(run: RunFiles) -> list[Plot]:
    """Plot precision and recall of each round's labels; none where the truth is not known."""
    values = {
        name: as_floats([quality_of(entry.labels, name) for entry in run.rounds])
        for name in ("precision", "recall")
    }
    if not any(np.isfinite(curve).any() for curve in values.values()):
        return []
    numbers = [entry.number for entry in run.rounds]
    axes = _round_axes("share", numbers)
    styles = {"precision": (ROLE_COLORS["ink"], "-"), "recall": (ROLE_COLORS["pseudo"], "--")}
    for name, (color, dashes) in styles.items():
        axes.plot(numbers, values[name], color=color, linestyle=dashes, marker="o", markersize=4, label=name)
    axes.set_ylim(0, 1.02)
    caption = (
        "Of each round's labels at the threshold. Recall that rises while precision falls: students repeat "
    )
    caption += "their teacher's mistakes with more confidence."
    alt = "; ".join(
        f"{name} {', '.join(number(value, 3) for value in curve)}" for name, curve in values.items()
    )
    return [finish(axes, "Pseudo labels by round", caption, f"Pseudo labels by round: {alt}.")]


def quality_of(labels: LabelFiles, name: str) -> Number | None:
    """Give what was measured of labels at their threshold; None where that is not known."""
    return None if labels.quality is None else labels.quality.at_threshold.get(name)


def is_kept(run: RunFiles, entry: RoundFiles) -> bool:
    """Tell whether a round's student is the run's result."""
    return entry.number == run.kept_round


def logged_val(stage: StageFiles, key: str) -> float:
    """Give what was logged on val for the checkpoint that was evaluated, in points; NaN where nothing was."""
    steps, values = series(stage, f"eval/{key}")
    if stage.evaluation is None:
        return np.nan
    logged = values[steps == stage.evaluation.checkpoint_step]
    return points(float(logged[-1])) if len(logged) else np.nan


def _notes(run: RunFiles) -> list[Note]:
    if not run.stopped_early:
        return []
    last = run.rounds[-1].number
    text = f"Stopped after round {last}: its student is worse on val than the one before. "
    return [Note(f"{text}The student of round {run.kept_round} is the result.", "warning")]


def _stage_cells(stage: StageFiles, val: float, key: str) -> list[str]:
    evaluation = stage.evaluation
    steps = NO_VALUE if evaluation is None else number(evaluation.checkpoint_step, 0)
    return [number(val), number(stage_points(stage, key)), steps]


def _label_cells(labels: LabelFiles) -> list[str]:
    kept = None if labels.manifest is None else labels.manifest.labels.num_kept
    return [number(kept, 0), *(number(quality_of(labels, name), 3) for name in ("precision", "recall"))]


def _round_axes(y_label: str, numbers: Sequence[int]) -> Axes:
    axes = new_axes("round", y_label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(numbers[0] - 0.25, numbers[-1] + 0.25)
    return axes
