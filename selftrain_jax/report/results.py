"""What the stages reached on the test split: the table, and what the student gained, class by class.

Numbers come from each stage's `evaluation.json`; scores are in points of 100.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from selftrain_jax.html.blocks import Note, Table
from selftrain_jax.html.plots import ROLE_COLORS, Plot, finish, new_axes, shorten, styled
from selftrain_jax.report.workdir import RunFiles, counted_control, earlier_steps, evaluations, points
from selftrain_jax.run_files.arms import CONTROLS, ORACLE, share_of_oracle
from selftrain_jax.run_files.evaluation import Evaluation
from selftrain_jax.run_files.fields import Number
from selftrain_jax.run_files.finished import describe_unfinished
from selftrain_jax.run_files.variants import pick_number
from selftrain_jax.text import duration, number

MAX_BARS = 40


class ClassScore(NamedTuple):
    """The number of a class that counts, and what is counted in it."""

    key: str  # in an evaluation's `per_class`
    label: str
    unit: str  # what there is to find; `num_<unit>` of a class is how much


def results_table(
    run: RunFiles, columns: Mapping[str, str], more_rows: Sequence[Sequence[str]] = ()
) -> Table:
    """List the metrics of every stage, and what the student gained over the others.

    `columns` are keys of an evaluation by their labels; `more_rows` of as many cells come last.
    """
    stages = evaluations(run)
    rows = [
        [name, *(number(points(evaluation.scores[key])) for key in columns.values()), *_cost(run, name)]
        for name, evaluation in stages.items()
    ]
    gains = [
        [f"student over {other}{mark}", *(_gain(stages, other, key) for key in columns.values()), "", ""]
        for other, mark in _marked_others(run, next(iter(columns.values())))
        if {"student", other} <= set(stages)
    ]
    if {"student", ORACLE} <= set(stages):
        shares = [_share(oracle_share(run, key)) for key in columns.values()]
        gains.append(["student's share of what the oracle gains", *shares, "", ""])
    strong_rows = range(len(rows), len(rows) + len(gains))
    return Table(["", *columns, "steps", "time"], [*rows, *gains, *more_rows], strong_rows)


def oracle_share(run: RunFiles, key: str) -> float | None:
    """Give `share_of_oracle` by the metric `key`, over the control that counts by it."""
    scores = {name: evaluation.scores[key] for name, evaluation in evaluations(run).items()}
    return share_of_oracle(scores.get("student"), scores.get(counted_control(run, key)), scores.get(ORACLE))


def early_stops(run: RunFiles) -> list[Note]:
    """Say where the stages with patience ended."""
    stops = [f"{name} {stage.stop}" for name, stage in run.stages.items() if stage.stop is not None]
    text = f"Training ends where val has stopped rising: {', '.join(stops)}."
    return [Note(text)] if stops else []


def unfinished_teacher(run: RunFiles, key: str, label: str) -> list[Note]:
    """Warn of a teacher whose val score still rose at its end, by the metric `key`, called `label`."""
    found = describe_unfinished(run.stages["teacher"].metrics, f"eval/{key}", label)
    return [Note(f"{found[0].upper()}{found[1:]}.", "warning")] if found else []


def fewer_human_images(run: RunFiles, key: str) -> list[Note]:
    """Name a likely cause where the student gained nothing over its control, by the metric `key`.

    Paper: the student's batch is the teacher's, 256 human images, and as many pseudo-labelled ones.
    """
    scores = {name: points(evaluation.scores[key]) for name, evaluation in evaluations(run).items()}
    control = counted_control(run, key)
    if not {"student", control} <= set(scores) or not scores["student"] <= scores[control]:  # or undefined
        return []
    teachers, size = (pick_number(run.config, f"{stage}.batch_size") for stage in ("teacher", "student"))
    frac = pick_number(run.config, "student.pseudo_frac")
    if teachers is None or size is None or frac is None:  # of an older version
        return []
    if (human := round(size * (1 - frac))) >= teachers:
        return []
    text = f"The student gained nothing over {control}. It saw {human} human images a step, its teacher "
    text += f"{teachers}; in the paper both see as many. Try config.student.batch_size="
    text += f"{round(teachers / (1 - frac))}."
    return [Note(text, "warning")]


def unequal_steps(run: RunFiles) -> list[Note]:
    """Warn where student and control were not trained alike; with patience each has its own end."""
    return [note for control in CONTROLS for note in _unequal_steps(run, control)]


def _unequal_steps(run: RunFiles, control: str) -> list[Note]:
    steps = {name: evaluation.checkpoint_step for name, evaluation in evaluations(run).items()}
    if not {"student", control} <= set(steps) or run.stages["student"].stop is not None:
        return []
    earlier = earlier_steps(run, "student") - earlier_steps(run, control)
    if earlier + steps["student"] == steps[control]:
        return []
    students = f"The student was trained for {steps['student']:,} steps "
    if earlier:
        students = f"The students of rounds 1 to {run.kept_round} were trained for "
        students += f"{earlier + steps['student']:,} steps together "
    text = f"{students}and the {control} for {steps[control]:,}: part of the gain may come from that."
    return [Note(text, "warning")]


def classes_by_size(run: RunFiles, unit: str) -> list[str]:
    """Name the classes of the test split, those with most of what there is to find first."""
    counts: dict[str, float] = {}
    for evaluation in evaluations(run).values():
        counts |= {name: entry[f"num_{unit}"] for name, entry in evaluation.per_class.items()}
    return sorted(counts, key=lambda name: -counts[name])


def gains_over(
    run: RunFiles, over: str, scores_of: Callable[[Evaluation[Any]], Mapping[str, Number | None]]
) -> dict[str, float]:
    """Subtract the scores by stage `over` from the student's, in points, where both are defined."""
    stages = evaluations(run)
    if not {"student", over} <= set(stages):
        return {}
    student, other = scores_of(stages["student"]), scores_of(stages[over])
    gains = {name: points(score) - points(other.get(name)) for name, score in student.items()}
    return {name: gain for name, gain in gains.items() if np.isfinite(gain)}


def class_gains(run: RunFiles, over: str, key: str) -> dict[str, float]:
    """Give the student's gain in the number `key` of each class."""
    return gains_over(run, over, lambda stage: {name: entry[key] for name, entry in stage.per_class.items()})


def known_gains(run: RunFiles, key: str) -> dict[str, dict[str, float]]:
    """Give `class_gains` over controls and over teacher, less those without any."""
    gains = {over: class_gains(run, over, key) for over in (*CONTROLS, "teacher")}
    return {over: values for over, values in gains.items() if values}


@styled()
def class_gain_bars(run: RunFiles, score: ClassScore) -> list[Plot]:
    """Draw the student's gain over controls and teacher for each class, largest first.

    Of more than MAX_BARS classes the best and the worst halves of that many are drawn.
    """
    gains = known_gains(run, score.key)
    if not gains:
        return []
    over, first = next(iter(gains.items()))
    names = sorted(first, key=lambda name: -first[name])
    is_cut = len(names) > MAX_BARS
    names = [*names[: MAX_BARS // 2], *names[-MAX_BARS // 2 :]] if is_cut else names
    axes = new_axes(f"points of {score.label} gained by the student", "", (5.2, 0.8 + 0.34 * len(names)))
    _draw_bars(axes, gains, names)
    caption = "Bars to the right: pseudo labels helped this class. "
    caption += f"A class with few test {score.unit} moves by chance."
    caption += f" Only the {MAX_BARS // 2} best and worst classes." if is_cut else ""
    values = ", ".join(f"{name} {first[name]:+.1f}" for name in names)
    alt = f"Gain in {score.label} by class over {over}: {values}."
    return [finish(axes, "Gain by class", caption, alt)]


def _marked_others(run: RunFiles, key: str) -> list[tuple[str, str]]:
    """List what the student is held against; of two controls the stronger one by `key` is marked."""
    has_both = set(CONTROLS) <= set(evaluations(run))
    counted = counted_control(run, key) if has_both else ""
    return [(name, ", the stronger control" if name == counted else "") for name in (*CONTROLS, "teacher")]


def _share(share: float | None) -> str:
    return "undefined" if share is None else f"{100 * share:.0f} %"


def _draw_bars(axes: Any, gains: dict[str, dict[str, float]], names: list[str]) -> None:
    height = 0.8 / len(gains)
    for series, (over, values) in enumerate(gains.items()):
        positions = np.arange(len(names)) + (series - (len(gains) - 1) / 2) * height
        widths = [values.get(name, np.nan) for name in names]
        axes.barh(positions, widths, height, label=f"over {over}", color=ROLE_COLORS[over])
    axes.set_yticks(range(len(names)), [shorten(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.axvline(0, color=ROLE_COLORS["muted"], linewidth=0.8)


def _gain(stages: Mapping[str, Evaluation[Any]], other: str, key: str) -> str:
    return number(points(stages["student"].scores[key]) - points(stages[other].scores[key]), signed=True)


def _cost(run: RunFiles, name: str) -> list[str]:
    if run.summary is None or name not in run.summary.stages:
        return [number(evaluations(run)[name].checkpoint_step, 0), duration(None)]
    stage = run.summary.stages[name]
    return [number(stage.steps, 0), duration(stage.seconds)]
