"""What the stages of a folder are doing as a page, DIR/status.html; call `write_status_page`."""

import datetime
from collections.abc import Mapping
from pathlib import Path

from selftrain_jax.html.blocks import Badge, Block, Cell, Code, Heading, Page, Section, Table
from selftrain_jax.html.render import write_page
from selftrain_jax.paper.plan.graph import Stage, stage_id
from selftrain_jax.paper.run.logs import log_path, read_last_lines
from selftrain_jax.paper.run.states import State
from selftrain_jax.paper.run.status import COUNTED, count_states, describe_state, name_stage

PAGE_FILE = "status.html"
HEADER = ("stage", "state", "what it is")


def write_status_page(states: Mapping[Stage, State], runs: Path, code: str) -> Path:
    """Write the page, whole or not at all, and return its path; `code` is the revision of this code."""
    page = Page(
        origin=f"{runs}, written {datetime.datetime.now():%Y-%m-%d %H:%M}",
        headline=count_states(states),
        badges=[Badge("code", code or "unknown", "teacher")],
        sections=[*_stage_sections(states, code), *_failure_sections(states, runs)],
    )
    return write_page(runs / PAGE_FILE, page)


def _stage_sections(states: Mapping[Stage, State], code: str) -> list[Section]:
    """Return a section for each kind of state that a stage is in."""
    sections = []
    for kind, title in COUNTED.items():
        rows = [
            (stage_id(stage), _state_cell(own, code), name_stage(stage))
            for stage, own in states.items()
            if own.kind == kind
        ]
        if rows:
            sections.append(Section(kind, title.capitalize(), "", [Table(HEADER, rows, style="words")]))
    return sections


def _state_cell(state: State, code: str) -> Cell:
    """Return the state, with a bar for how far a training has come."""
    progress = state.progress
    share = progress.steps / progress.of_steps if progress and progress.of_steps else None
    return Cell(describe_state(state, code), share=None if share is None else min(share, 1.0))


def _failure_sections(states: Mapping[Stage, State], runs: Path) -> list[Section]:
    """Return the ends of the logs of stages that failed."""
    blocks: list[Block] = []
    for stage, own in states.items():
        if own.kind == "failed":
            path = log_path(stage, runs)
            blocks += [Heading(str(path)), Code("\n".join(read_last_lines(path)))]
    return [Section("logs", "Ends of logs", "", blocks)] if blocks else []
