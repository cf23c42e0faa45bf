"""The run in one sentence, and how far each of its stages is."""

import datetime
import html

from selftrain_jax.html import markup
from selftrain_jax.report.class_results import evaluations, points
from selftrain_jax.report.measure import measure_of
from selftrain_jax.report.workdir import STAGES, Run


def header(run: Run) -> str:
    """Give the top of the page: the headline and the state of every stage."""
    colors = {"pseudo labels": "pseudo"}
    stages = "".join(
        f'<li class="{"empty" if state == "not there yet" else "there"}"'
        f' style="border-color:var(--{colors.get(name, name)})"><b>{html.escape(name.capitalize())}</b>'
        f"<span>{html.escape(state)}</span></li>"
        for name, state in progress(run)
    )
    written = f"Self-training report of {run.workdir}, written {datetime.datetime.now():%Y-%m-%d %H:%M}"
    return (
        f"<header>{markup.paragraph(written)}<h1>{html.escape(headline(run))}</h1>"
        f'<ul class="stages">{stages}</ul></header>'
    )


def headline(run: Run) -> str:
    """Say the result in one sentence, as far as the run has come."""
    key, unit = measure_of(run).key, measure_of(run).name
    reached = {name: points(evaluation[key]) for name, evaluation in evaluations(run).items()}
    if "student" in reached:
        gains = [
            f"{markup.number(reached['student'] - reached[name], signed=True)} over {name}"
            for name in ("control", "teacher")
            if name in reached
        ]
        return ", ".join([f"Student {markup.number(reached['student'])} {unit}", *gains])
    if "teacher" in reached:
        return f"Teacher {markup.number(reached['teacher'])} {unit}; the student is not evaluated yet"
    return "No stage is evaluated yet"


def progress(run: Run) -> list[tuple[str, str]]:
    """Say of teacher, pseudo labels, control and student how far they are."""
    states = {name: _stage_state(run, name) for name in STAGES}
    labels = "not there yet" if run.manifest is None else f"{run.manifest['num_images']:,} images"
    return [
        ("teacher", states["teacher"]),
        ("pseudo labels", labels),
        ("control", states["control"]),
        ("student", states["student"]),
    ]


def _stage_state(run: Run, name: str) -> str:
    stage = run.stages[name]
    if stage.evaluation is not None:
        measure = measure_of(run)
        return f"{markup.number(points(stage.evaluation[measure.key]))} {measure.name}"
    return f"at step {stage.metrics[-1]['step']:,}" if stage.metrics else "not there yet"
