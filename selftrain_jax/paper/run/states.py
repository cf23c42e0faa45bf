"""What each stage of a folder of runs is doing now; call `read_states`."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from selftrain_jax.errors import INTERRUPTED, RUN_AGAIN
from selftrain_jax.paper.plan.graph import Search, Stage, Student, Teacher, stage_id
from selftrain_jax.paper.run.commands import needs_of
from selftrain_jax.paper.run.logs import log_path, read_exit_code
from selftrain_jax.paper.run.outcomes import metrics_folders, read_outcome, read_record
from selftrain_jax.run_files.lock import is_held
from selftrain_jax.run_files.metrics import METRICS_FILE, Row, merge_steps, read_metrics

Kind = Literal["done", "diverged", "running", "failed", "blocked", "waiting"]
STOPPED = (RUN_AGAIN, INTERRUPTED)  # exit codes of a command that goes on when it is run again
ETA_KEY = "speed/eta_secs"


class Progress(NamedTuple):
    """How far a training has come; `left_secs` is None where no speed is known yet."""

    steps: int
    of_steps: int
    left_secs: float | None


class State(NamedTuple):
    """What a stage is doing; `on` is the stage that it waits for, where there is such."""

    kind: Kind
    on: Stage | None = None
    progress: Progress | None = None
    code: str = ""  # the revision that a finished stage was made with
    why: str = ""  # of a blocked stage: how the stage that it waits for ended


def read_states(stages: Sequence[Stage], runs: Path) -> dict[Stage, State]:
    """Return the states of stages, which come after their needs, by what is in the folder now."""
    current = _find_current(stages, runs)
    states: dict[Stage, State] = {}
    for stage in stages:
        states[stage] = _read_state(stage, runs, states, is_current=stage == current)
    return states


def _find_current(stages: Sequence[Stage], runs: Path) -> Stage | None:
    """Return the stage that a runner on this folder is at: the one with the newest log, if it has no end."""
    logs = {stage: path for stage in stages if (path := log_path(stage, runs)).exists()}
    if not logs or not is_held(runs):
        return None
    newest = max(logs, key=lambda stage: logs[stage].stat().st_mtime)
    return newest if read_exit_code(logs[newest]) is None else None


def _read_state(stage: Stage, runs: Path, states: Mapping[Stage, State], *, is_current: bool) -> State:
    outcome = read_outcome(stage, runs)
    ended = read_exit_code(log_path(stage, runs))
    if is_held(runs / stage_id(stage)) or (is_current and outcome.kind == "unfinished"):
        return State("running", progress=read_progress(stage, runs))
    if outcome.kind != "unfinished":
        return State(outcome.kind, code=outcome.code)
    if ended is not None and ended not in STOPPED:
        return State("failed")
    return wait_for(stage, states)


def wait_for(stage: Stage, states: Mapping[Stage, State]) -> State:
    """Return the state of a stage that has yet to run: blocked where a stage before it cannot be had."""
    for needed in needs_of(stage):
        state = states[needed]
        if state.kind == "blocked":
            return state
        if state.kind in ("failed", "diverged"):
            return State("blocked", needed, why=state.kind)
    return State("waiting", next((own for own in needs_of(stage) if states[own].kind != "done"), None))


def read_progress(stage: Stage, runs: Path) -> Progress | None:
    """Return how far a training has come by its metrics.jsonl; None where there is none.

    A search counts the steps of all its students.
    """
    folders = [own for own in metrics_folders(stage, runs / stage_id(stage)) if _read_rows(own)]
    if not folders:
        return None
    newest = max(folders, key=lambda folder: (folder / METRICS_FILE).stat().st_mtime)
    rows, steps_each = _read_rows(newest), _read_steps(newest, stage)
    num_trainings = len(stage.students) if isinstance(stage, Search) else 1
    steps, of_steps = sum(_read_rows(own)[-1]["step"] for own in folders), num_trainings * steps_each
    eta = next((row for row in reversed(rows) if row.get(ETA_KEY)), None)
    if eta is None or eta["step"] >= steps_each:
        return Progress(steps, of_steps, None)
    secs_a_step = eta[ETA_KEY] / (steps_each - eta["step"])
    age_secs = time.time() - (newest / METRICS_FILE).stat().st_mtime
    return Progress(steps, of_steps, max(0.0, secs_a_step * (of_steps - steps) - age_secs))


def _read_rows(folder: Path) -> Sequence[Row]:
    return merge_steps(read_metrics(folder / METRICS_FILE, skip_damaged=True))


def _read_steps(folder: Path, stage: Stage) -> int:
    """Return the steps of one training: its record's, which flags may have changed, else the paper's."""
    kind = "teacher" if isinstance(stage, Teacher) else "student"
    record = read_record(folder)
    steps = None if record is None else record.settings.get(f"{kind}.steps")
    return steps if isinstance(steps, int) else _paper_steps(stage)


def _paper_steps(stage: Stage) -> int:
    match stage:
        case Teacher(steps=steps) | Student(steps=steps):
            return steps
        case Search(students=students):
            return students[0].steps
    return 0
