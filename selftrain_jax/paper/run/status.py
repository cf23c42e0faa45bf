"""What the stages of a folder are doing, as lines for a terminal; call `format_status`."""

from collections.abc import Mapping
from pathlib import Path

from selftrain_jax.paper.plan.graph import Stage, seed_of, stage_id
from selftrain_jax.paper.plan.text import align, describe
from selftrain_jax.paper.run.logs import log_path, read_last_lines
from selftrain_jax.paper.run.runner import describe_wait
from selftrain_jax.paper.run.states import Progress, State
from selftrain_jax.text import duration

# How kinds of states are counted, in the order of the first line.
COUNTED = {
    "done": "done",
    "diverged": "diverged",
    "running": "running",
    "failed": "failed",
    "blocked": "waiting for one that failed",
    "waiting": "waiting",
}


def format_status(states: Mapping[Stage, State], runs: Path, code: str) -> str:
    """Return the status: counts, a line for each stage, the last lines of the logs of those that failed.

    `code` is the revision of this code.
    """
    table = [(stage_id(stage), describe_state(own, code), name_stage(stage)) for stage, own in states.items()]
    failed = [stage for stage, own in states.items() if own.kind == "failed"]
    lines = [f"{runs}: {count_states(states)}", *align(table, num_left=3)]
    return "\n".join([*lines, *(line for stage in failed for line in format_failure(stage, runs))])


def count_states(states: Mapping[Stage, State]) -> str:
    """Return how many stages are done, running and so on."""
    counts = {kind: sum(own.kind == kind for own in states.values()) for kind in COUNTED}
    shown = [f"{count} {COUNTED[kind]}" for kind, count in counts.items() if count]
    return f"{len(states)} stage{'s' * (len(states) != 1)}, {', '.join(shown)}"


def describe_state(state: State, code: str) -> str:
    """Return a state in words; a finished stage of another revision of the code is marked."""
    if state.kind == "running":
        return "running" + (f", {describe_progress(state.progress)}" if state.progress else "")
    if state.kind in ("waiting", "blocked"):
        return describe_wait(state)
    return f"done, by code {state.code}, not {code}" if is_of_other_code(state, code) else state.kind


def is_of_other_code(state: State, code: str) -> bool:
    """Tell whether a finished stage was made with another revision of the code, where both are known."""
    return state.kind == "done" and bool(state.code and code) and state.code != code


def describe_progress(progress: Progress) -> str:
    """Return how far a training has come and the time that is left."""
    left = "" if progress.left_secs is None else f", {duration(progress.left_secs)} left"
    return f"step {progress.steps:,} of {progress.of_steps:,}{left}"


def name_stage(stage: Stage) -> str:
    """Return a stage in words, with its seed."""
    return describe(stage) + ("" if seed_of(stage) is None else f", seed {seed_of(stage)}")


def format_failure(stage: Stage, runs: Path) -> list[str]:
    """Return which stage failed, where its log is, and the log's last lines."""
    path = log_path(stage, runs)
    return [f"{stage_id(stage)} failed, {path} ends:", *(f"  {line}" for line in read_last_lines(path))]
