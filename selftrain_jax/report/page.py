"""The report of a run as one HTML file, and the sections that every task has; call `write_report_page`.

A section whose stage has not run has no blocks.
"""

import datetime
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from selftrain_jax.html.blocks import (
    Badge,
    Block,
    Code,
    Details,
    Heading,
    Legend,
    Note,
    Page,
    Section,
    Table,
    plots,
)
from selftrain_jax.html.galleries import Gallery
from selftrain_jax.html.plots import Plot
from selftrain_jax.html.render import write_page
from selftrain_jax.report import curves
from selftrain_jax.report.cost import cost_blocks
from selftrain_jax.report.label_sources import has_foreign_labels, label_sources_section
from selftrain_jax.report.results import (
    early_stops,
    fewer_human_images,
    oracle_share,
    results_table,
    unequal_steps,
    unfinished_teacher,
)
from selftrain_jax.report.rounds import rounds_section
from selftrain_jax.report.search import search_section
from selftrain_jax.report.variants import variants_section
from selftrain_jax.report.workdir import RunFiles, counted_control, evaluations, points
from selftrain_jax.run_files.evaluation import Evaluation
from selftrain_jax.run_files.summary import STAGES
from selftrain_jax.run_files.variants import pick_number
from selftrain_jax.text import duration, number

MISSING = "not there yet"
MAX_SMALL_PLOTS = 12
SMALL_INCHES = (3.0, 2.3)
PICTURE_TITLES = {
    "label-images": "Pseudo-labelled images",
    "augmentation": "Augmentation",
    "test-images": "Test images",
}
RESULTS_LEAD = (
    "Compare the student with the control, which saw no pseudo labels, and not only with the teacher: "
    "with equal steps the difference is what the pseudo labels gave."
)
AUGMENTATION_LEAD = (
    "The four policies from flip and crop (S1) to the strongest (S4), as the network sees them."
)


def write_report_page(run: RunFiles, sections: Sequence[Section], key: str, label: str) -> Path:
    """Write `report.html` into the run's folder and return its path.

    The number that counts is at `key` of an evaluation and called `label`.
    """
    written = f"{datetime.datetime.now():%Y-%m-%d %H:%M}"
    page = Page(
        origin=f"Self-training report of {run.workdir}, written {written}",
        headline=headline(run, key, label),
        badges=progress(run, key, label),
        sections=sections,
    )
    return write_page(run.workdir / "report.html", page)


def headline(run: RunFiles, key: str, label: str) -> str:
    """Say the result in one sentence, as far as the run has come."""
    reached = {name: points(evaluation.scores[key]) for name, evaluation in evaluations(run).items()}
    if "student" in reached:
        gains = [
            f"{number(reached['student'] - reached[name], signed=True)} over {name}"
            for name in (counted_control(run, key), "teacher")
            if name in reached
        ]
        if (share := oracle_share(run, key)) is not None:
            gains.append(f"{100 * share:.0f} % of what the oracle gains")
        which = f" in round {run.kept_round}" if len(run.rounds) > 1 else ""
        return ", ".join([f"Student {number(reached['student'])} {label}{which}", *gains])
    if "teacher" in reached:
        return f"Teacher {number(reached['teacher'])} {label}; the student is not evaluated yet"
    return "No stage is evaluated yet"


def progress(run: RunFiles, key: str, label: str) -> list[Badge]:
    """Say of teacher, pseudo labels, control and student how far they are; of others once they begin."""
    states = {name: _stage_state(run, name, key, label) for name in STAGES}
    states["pseudo"] = MISSING if run.manifest is None else f"{run.manifest.num_images:,} images"
    more = {"Half control": "control_half", "Oracle": "oracle"}
    begun = {name: role for name, role in more.items() if states[role] != MISSING}
    roles = {"Teacher": "teacher", "Pseudo labels": "pseudo", "Control": "control", **begun}
    roles["Student"] = "student"
    return [Badge(name, states[role], role, states[role] == MISSING) for name, role in roles.items()]


def _stage_state(run: RunFiles, name: str, key: str, label: str) -> str:
    stage = run.stages[name]
    if stage.evaluation is not None:
        return f"{number(points(stage.evaluation.scores[key]))} {label}"
    return f"at step {stage.metrics[-1]['step']:,}" if stage.metrics else MISSING


def results_section(
    run: RunFiles,
    columns: Mapping[str, str],
    how_measured: Callable[[Evaluation[Any]], str],
    blocks: Iterable[Block],
    more_rows: Sequence[Sequence[str]] = (),
) -> Section:
    """Show the table of results and how they were measured, then the blocks that the task adds.

    For `columns` and `more_rows` see `results_table`; `how_measured` puts an evaluation's setting in words.
    """
    stages = evaluations(run)
    if not stages:
        return Section("results", "Results", RESULTS_LEAD, [])
    note = f"{how_measured(next(iter(stages.values())))} One run with one seed: "
    note += "run more seeds before you trust a small difference."
    table = results_table(run, columns, more_rows)
    label, key = next(iter(columns.items()))
    notes = [*early_stops(run), *unequal_steps(run), *unfinished_teacher(run, key, label)]
    notes += fewer_human_images(run, key)
    return Section(
        "results",
        "Results",
        RESULTS_LEAD,
        [table, Note(note), *notes, *blocks],
    )


def curves_section(run: RunFiles, metrics: Mapping[str, str]) -> Section:
    """Show evaluation metrics, by key with their labels, over steps."""
    drawn = [plot for key, label in metrics.items() for plot in curves.learning_curve(run, key, label)]
    lead = "A student that is still rising at its end would gain from more steps."
    return Section("curves", "Learning curves", lead, plots(drawn, "curve"))


def comparison_sections(run: RunFiles, key: str, label: str) -> list[Section]:
    """Compare rounds, variants and the points of a search, each where the run has them or asks for them.

    They are compared by the metric `key` of an evaluation, called `label`.
    """
    wants_rounds = (pick_number(run.config, "selftrain.rounds") or 1) > 1
    return [
        *([rounds_section(run, key, label)] if run.rounds or wants_rounds else []),
        *([variants_section(run, key, label)] if run.variants else []),
        *([label_sources_section(run, key, label)] if has_foreign_labels(run) else []),
        *([search_section(run.search, label)] if run.search is not None else []),
    ]


def training_section(run: RunFiles, of_task: Sequence[Plot] = ()) -> Section:
    """Show losses, what the task adds, the loss normaliser, the speed and what the stages cost."""
    drawn = [plot for name in STAGES for plot in curves.loss_curve(run, name)] + [*of_task]
    drawn += [*curves.loss_norm_averages(run), *curves.loss_norm_ratio(run)]
    drawn += [*curves.speed_curve(run), *curves.data_wait_curve(run)]
    lead = "Look for curves that jump, rise or stop, and for an accelerator that waits for its data."
    return Section("training", "Training", lead, [*plots(drawn, "loss"), *cost_blocks(run)])


def pictures_section(
    key: str, lead: str, galleries: Sequence[Gallery], legend: Sequence[Legend], note: str = ""
) -> Section:
    """Show galleries under what their colours mean; nothing without galleries."""
    head: list[Block] = [*legend, *([Note(note)] if note else [])] if galleries else []
    return Section(key, PICTURE_TITLES[key], lead, [*head, *galleries])


def reproduce_section(run: RunFiles) -> Section:
    """Show the command line, the versions and the whole configuration."""
    lead = "The same command on the same workdir resumes; on a new one it runs everything again."
    missing = Note("No command line is written down in summary.json.", "missing")
    command = Code(run.summary.command) if run.summary is not None and run.summary.command else missing
    blocks: list[Block] = [command, Details("Versions and weights", facts_table(run))]
    if run.config is not None:
        blocks.append(Details("Configuration", Code(json.dumps(run.config, indent=2, sort_keys=True))))
    return Section("reproduce", "Reproduce", lead, blocks)


def facts_table(run: RunFiles) -> Table:
    """List where, on what, with what and for how long the run ran, as far as it has written that down."""
    facts: dict[str, object] = {"workdir": str(run.workdir)}
    if (summary := run.summary) is not None:
        facts |= {"device": summary.device, "seed": summary.seed}
        facts["total time"] = duration(summary.seconds_total)
        facts |= {f"{name} checkpoint": stage.checkpoint for name, stage in summary.stages.items()}
        facts |= {f"{name} version": version for name, version in sorted(summary.versions.items())}
    return Table(["", ""], [[name, str(value)] for name, value in facts.items()])


def small_multiples(
    drawn: Sequence[Plot], key: str, title: str, total: int, legend: Legend, unit: str
) -> list[Block]:
    """Lay out one small plot a class under one legend; of `total` classes those with most of the unit."""
    if not drawn:
        return []
    left_out = f"The {len(drawn)} classes with most {unit}, of {total}."
    hint = [Note(left_out)] if total > len(drawn) else []
    return [Heading(title), *hint, legend, *plots(drawn, key, "small")]
