"""Stages worked off one after another on this machine; call `run_stages`.

What depends on a failed stage waits, everything else goes on.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from selftrain_jax.errors import RUN_AGAIN, RunAgainError
from selftrain_jax.paper.plan.graph import Stage, stage_id
from selftrain_jax.paper.run.logs import log_path
from selftrain_jax.paper.run.outcomes import read_outcome
from selftrain_jax.paper.run.processes import Starter
from selftrain_jax.paper.run.states import STOPPED, State, wait_for

Commands = Callable[[Stage], Sequence[str]]
"""The command line of a stage."""


def run_stages(
    stages: Sequence[Stage],
    runs: Path,
    command_of: Commands,
    start: Starter,
    tell: Callable[[str], None] = print,
    refresh: Callable[[], None] = lambda: None,
) -> Mapping[Stage, State]:
    """Run what is not finished, in order, and return how each stage stands at the end.

    `stages` come after their needs. A stage that failed in an earlier call is tried again; one that diverged
    is not, as its command would diverge again.

    Args:
        stages: what to run.
        runs: the folder with their folders and logs.
        command_of: the command of a stage.
        start: how a command is run.
        tell: takes a line for each stage that begins or ends.
        refresh: is called when a command begins, now and then while it runs, and at the end.

    Raises:
        RunAgainError: a command was stopped from outside, and would go on.
        KeyboardInterrupt: likewise, by Ctrl-C.
    """
    states: dict[Stage, State] = {}
    for number, stage in enumerate(stages, 1):
        state = find_state(stage, runs, states)
        if state.kind == "waiting":
            tell(f"{number}/{len(stages)} {stage_id(stage)}: runs, its log is {log_path(stage, runs)}")
            refresh()
            code = start(command_of(stage), log_path(stage, runs), refresh)
            state = _judge(stage, runs, code)
        states[stage] = state
        tell(f"{number}/{len(stages)} {stage_id(stage)}: {describe_end(state)}")
    refresh()
    return states


def find_state(stage: Stage, runs: Path, states: Mapping[Stage, State]) -> State:
    """Return what is known of a stage before it is run: "waiting" if it can be run now."""
    outcome = read_outcome(stage, runs)
    if outcome.kind != "unfinished":
        return State(outcome.kind, code=outcome.code)
    return wait_for(stage, states)


def _judge(stage: Stage, runs: Path, code: int) -> State:
    """Return how a stage stands after its command, by what it left; a code of 0 alone says nothing.

    Raises:
        RunAgainError: it was stopped.
        KeyboardInterrupt: likewise.
    """
    if code in STOPPED:
        if code == RUN_AGAIN:
            raise RunAgainError(f"{stage_id(stage)} was stopped and saved what it had")
        raise KeyboardInterrupt
    outcome = read_outcome(stage, runs)
    return State("failed") if outcome.kind == "unfinished" else State(outcome.kind, code=outcome.code)


def describe_end(state: State) -> str:
    """Return how a stage ended in a few words."""
    if state.kind in ("waiting", "blocked"):
        return describe_wait(state)
    return {"diverged": "diverged, which is its result"}.get(state.kind, state.kind)


def describe_wait(state: State) -> str:
    """Return what a stage waits for: its turn, X, or X, which failed."""
    if state.on is None:
        return "waiting for its turn"
    return f"waiting for {stage_id(state.on)}" + (f", which {state.why}" if state.why else "")
