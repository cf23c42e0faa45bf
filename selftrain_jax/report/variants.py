"""The base run beside its variants: a table, the students' learning curves, the quality of the labels.

Call `variants_section`. What a variant has not reached yet is left out.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from selftrain_jax.html.blocks import Block, Cell, Legend, LegendEntry, Note, Section, Table, plots
from selftrain_jax.html.plots import (
    NUM_SERIES,
    ROLE_COLORS,
    Plot,
    finish,
    new_axes,
    new_step_axes,
    shorten,
    styled,
    thin,
)
from selftrain_jax.report.workdir import (
    RunFiles,
    as_floats,
    counted_control,
    series,
    stage_points,
    threshold_used,
    trained_steps,
)
from selftrain_jax.run_files.fields import Number
from selftrain_jax.run_files.variants import BASE, differing_values, pick_number
from selftrain_jax.text import NO_VALUE, format_setting, number, shorten_list

MAX_LINES = 2 * NUM_SERIES  # variants in a figure: each colour solid and dashed
MAX_KEYS = 4  # config keys in a row of the table
SHOWN = ("pseudo.threshold", "selftrain.alpha")  # config keys with a column of their own
OPTIONAL = ("threshold", "alpha", "precision", "recall")  # columns that are left out where all is missing


class Compared(NamedTuple):
    """A run of the comparison and how its line looks."""

    name: str
    run: RunFiles
    role: str  # of `ROLE_COLORS`
    is_dashed: bool


def variants_section(run: RunFiles, key: str, label: str) -> Section:
    """Compare the variants of a run by the metric `key` of an evaluation, called `label`."""
    lead = "Runs with other settings that share the rest with this one. A difference that is smaller than "
    lead += "between seeds says nothing; over the control it is what the pseudo labels gave."
    if not run.variants:
        return Section("variants", "Variants", lead, [])
    compared = drawn_variants(run, key)
    drawn: list[Plot] = [*student_curves(compared, key, label), *label_quality(compared)]
    left_out = len(run.variants) + 1 - len(compared)
    blocks: list[Block] = [variants_table(run, key, label)]
    if drawn and left_out:
        text = f"The figures show the {MAX_LINES} variants with the highest {label}; {left_out} are left out."
        blocks.append(Note(text))
    if drawn:
        blocks += [Legend([_legend_entry(entry) for entry in compared]), *plots(drawn, "variant")]
    return Section("variants", "Variants", lead, blocks)


def variants_table(run: RunFiles, key: str, label: str) -> Table:
    """List the student and its gains, the threshold, alpha, the labels' quality, and what differs."""
    runs = [(BASE, run), *run.variants.items()]
    rows = [_row(name, own, run, key) for name, own in runs]
    header: list[str | Cell] = [
        *("", label, "over control", "over teacher"),
        *OPTIONAL,
        Cell("differs", wraps=True),
    ]
    num_fixed = len(header) - len(OPTIONAL) - 1
    used = [place for place in range(len(header)) if place < num_fixed or _is_used(rows, place)]
    return Table([header[place] for place in used], [[row[place] for place in used] for row in rows], [0])


def drawn_variants(run: RunFiles, key: str) -> list[Compared]:
    """Choose the runs for the figures, the base first, and give each a colour.

    Of more than MAX_LINES variants those with the highest scores, in the order of the table.
    """
    names = list(run.variants)
    best = sorted(
        names,
        key=lambda name: -np.nan_to_num(stage_points(run.variants[name].stages["student"], key), nan=-1.0),
    )
    chosen = [name for name in names if name in set(best[:MAX_LINES])]
    lines = [
        Compared(name, run.variants[name], f"series{place % NUM_SERIES + 1}", place >= NUM_SERIES)
        for place, name in enumerate(chosen)
    ]
    return [Compared(BASE, run, "student", is_dashed=False), *lines]


@styled()
def student_curves(compared: Sequence[Compared], key: str, label: str) -> list[Plot]:
    """Plot the students' metric on the evaluation images over their steps."""
    axes, ends = new_step_axes("steps of the student", label), []
    for name, run, role, is_dashed in compared:
        steps, values = series(run.stages["student"], f"eval/{key}")
        values = 100 * np.where(values < 0, np.nan, values)
        if len(steps):
            style: dict[str, Any] = {"color": ROLE_COLORS[role], "linestyle": "--" if is_dashed else "-"}
            style |= {"linewidth": 2.2, "zorder": 3} if run is compared[0].run else {"linewidth": 1.4}
            axes.plot(*thin(steps, values), marker="o", markersize=3, **style)
            ends.append(f"{name} ends at {number(float(values[-1]))}")
    if not ends:
        return []
    title = f"{label} of the students on the evaluation images"
    caption = "Curves that cross late say that the order may change with more steps."
    return [finish(axes, title, caption, f"{title}: {', '.join(ends)}.", legend=False)]


@styled()
def label_quality(compared: Sequence[Compared]) -> list[Plot]:
    """Plot precision over recall: a line for each set of labels, a point at each run's threshold."""
    axes = new_axes("recall of the pseudo labels", "precision of the pseudo labels")
    qualities = [entry.run.quality for entry in compared if entry.run.quality is not None]
    curves = {tuple(own.overall[name] for name in ("recall", "precision")): None for own in qualities}
    for curve in curves:
        axes.plot(*map(as_floats, curve), color=ROLE_COLORS["muted"], linewidth=0.9, linestyle=":")
    places = [(entry, *label_point(entry.run)) for entry in compared]
    known = [place for place in places if np.isfinite(place[1:]).all()]
    if not known:
        return []
    for order, (entry, recall, precision) in enumerate(known):
        nested = sum(place[1:] == (recall, precision) for place in known[order:])
        axes.scatter(
            recall, precision, s=22 * nested**1.5, color=ROLE_COLORS[entry.role], linewidths=0, zorder=3
        )
    _name_thresholds(axes, known)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    caption = (
        "Right and up is better. A point is a run's threshold, written beside it; on a dotted line lie all "
    )
    caption += "thresholds of the same labels. Runs with the same labels are rings around one another."
    values = ", ".join(f"{entry.name} {precision:.2f} at {recall:.2f}" for entry, recall, precision in known)
    alt = f"Precision at recall of the pseudo labels: {values}."
    return [finish(axes, "Pseudo labels at each run's threshold", caption, alt, legend=False)]


def label_point(run: RunFiles) -> tuple[float, float]:
    """Give recall and precision of a run's pseudo labels at its own threshold; NaN where unknown."""
    found = {} if run.quality is None else run.quality.at_threshold
    recall, precision = as_floats([found.get(name) for name in ("recall", "precision")])
    return float(recall), float(precision)


def shown_threshold(run: RunFiles) -> Number | None:
    """Give the threshold of a run's pseudo labels; while there are none, the one that its config asks for."""
    used = threshold_used(run)
    return pick_number(run.config, "pseudo.threshold") if used is None else used


def describe_differences(base: Mapping[str, Any] | None, own: Mapping[str, Any] | None) -> str:
    """Name the other config keys in which a run differs from the base, with its own values."""
    differs = differing_values(dict(base or {}), dict(own)) if own else {}
    named = [f"{key}={shorten(format_setting(now))}" for key, (_, now) in differs.items() if key not in SHOWN]
    return shorten_list(named, MAX_KEYS)


def _row(name: str, own: RunFiles, base: RunFiles, key: str) -> list[str | Cell]:
    reached = stage_points(own.stages["student"], key)
    student = own.stages["student"]
    begun = f"at step {trained_steps(student):,}" if student.metrics else "not there yet"
    gains = [
        number(reached - stage_points(own.stages[other], key), signed=True)
        for other in (counted_control(own, key), "teacher")
    ]
    settings = [shown_threshold(own), pick_number(own.config, "selftrain.alpha")]
    recall, precision = label_point(own)
    return [
        shorten(name, 40),
        begun if student.evaluation is None else number(reached),
        *gains,
        *(NO_VALUE if value is None else f"{value:g}" for value in settings),
        *(number(value, 3) for value in (precision, recall)),
        Cell(describe_differences(base.config, own.config), wraps=True),
    ]


def _is_used(rows: Sequence[Sequence[str | Cell]], place: int) -> bool:
    texts = [cell if isinstance(cell, str) else cell.text for cell in (row[place] for row in rows)]
    return any(text not in ("", NO_VALUE) for text in texts)


def _legend_entry(entry: Compared) -> LegendEntry:
    return LegendEntry(
        shorten(entry.name, 40), f"var(--{entry.role})", "dashed" if entry.is_dashed else "solid"
    )


def _name_thresholds(axes: Any, known: Sequence[tuple[Compared, float, float]]) -> None:
    """Write the threshold beside each place, once."""
    thresholds = {place[1:]: shown_threshold(place[0].run) for place in known}
    for (recall, precision), threshold in thresholds.items():
        if threshold is not None:
            offset = {"xytext": (7, 5), "textcoords": "offset points", "fontsize": 8}
            axes.annotate(f"{threshold:g}", (recall, precision), **offset)
