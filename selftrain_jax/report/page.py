"""The report of a run as one HTML file. Call `write_report_page`."""

import datetime
from collections.abc import Sequence
from pathlib import Path

from selftrain_jax.html.blocks import Badge, Page, Section
from selftrain_jax.html.numbers import number
from selftrain_jax.html.render import write_page
from selftrain_jax.report.workdir import RunFiles, evaluations, points

MISSING = "not there yet"


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
            for name in ("control", "teacher")
            if name in reached
        ]
        return ", ".join([f"Student {number(reached['student'])} {label}", *gains])
    if "teacher" in reached:
        return f"Teacher {number(reached['teacher'])} {label}; the student is not evaluated yet"
    return "No stage is evaluated yet"


def progress(run: RunFiles, key: str, label: str) -> list[Badge]:
    """Say of teacher, pseudo labels, control and student how far they are."""
    labels = MISSING if run.manifest is None else f"{run.manifest.num_images:,} images"
    states = {name: _stage_state(run, name, key, label) for name in ("teacher", "control", "student")}
    return [
        Badge("Teacher", states["teacher"], "teacher", states["teacher"] == MISSING),
        Badge("Pseudo labels", labels, "pseudo", labels == MISSING),
        Badge("Control", states["control"], "control", states["control"] == MISSING),
        Badge("Student", states["student"], "student", states["student"] == MISSING),
    ]


def _stage_state(run: RunFiles, name: str, key: str, label: str) -> str:
    stage = run.stages[name]
    if stage.evaluation is not None:
        return f"{number(points(stage.evaluation.scores[key]))} {label}"
    return f"at step {stage.metrics[-1]['step']:,}" if stage.metrics else MISSING
