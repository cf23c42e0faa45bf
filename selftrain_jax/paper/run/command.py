"""What the commands run and status do; `run_rows` and `show_status`."""

import functools
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from selftrain_jax.errors import InputError, StagesFailedError
from selftrain_jax.paper.plan.graph import Graph, Stage, stage_id
from selftrain_jax.paper.run.commands import Command, check_flags, command_of, list_stages
from selftrain_jax.paper.run.page import write_status_page
from selftrain_jax.paper.run.processes import Starter, run_logged
from selftrain_jax.paper.run.runner import Commands, describe_end, run_stages
from selftrain_jax.paper.run.selection import add_rows, read_rows
from selftrain_jax.paper.run.slurm import check_slurm, submit_stages
from selftrain_jax.paper.run.states import State, read_states
from selftrain_jax.paper.run.status import count_states, format_failure, format_status, is_of_other_code
from selftrain_jax.paper.run.tpu_vm import Slice, read_slice, split_flags
from selftrain_jax.run_files.lock import hold_folder
from selftrain_jax.run_files.revision import code_revision

SLURM, TPU_VM = "slurm", "tpu_vm"


def run_rows(
    graph: Graph,
    runs: Path,
    flags: Sequence[str] = (),
    submit: str = "",
    submit_flags: str = "",
    start: Starter = run_logged,
) -> str:
    """Work a graph off, or submit it; return what is printed at the end.

    Raises:
        InputError: the folder cannot be written or is in use, or a flag or tool does not fit.
        StagesFailedError: a stage failed.
    """
    check_flags(flags)
    if submit_flags and not submit:
        raise InputError("--submit-flags is for --submit; flags of every run come after --")
    slice = read_slice(submit_flags) if submit == TPU_VM else None
    if submit == SLURM:
        check_slurm()
    with hold_folder(runs, "--runs"):
        add_rows(runs, graph.runs)
        if submit == SLURM:
            return _submit(graph, runs, flags, split_flags(submit_flags))
        commands = _commands(graph, runs, flags, slice)
        shown = list_stages(read_rows(runs))
        refresh = functools.partial(_write_page, shown, runs)
        states = run_stages(list_stages(graph.runs), runs, commands, start, _tell, refresh)
    return _sum_up(states, runs)


def _submit(graph: Graph, runs: Path, flags: Sequence[str], options: Sequence[str]) -> str:
    """Submit a graph to SLURM and return a line for each stage."""

    def command(stage: Stage) -> Command:
        return command_of(stage, graph, str(runs), flags)

    return "\n".join(submit_stages(list_stages(graph.runs), runs, command, options))


def _commands(graph: Graph, runs: Path, flags: Sequence[str], slice: Slice | None) -> Commands:
    """Return the command line of a stage, on this machine or on a slice."""

    def here(stage: Stage) -> Sequence[str]:
        command = command_of(stage, graph, str(runs), flags)
        return [sys.executable, "-u", "-m", "selftrain_jax.main", *command.arguments]

    def there(stage: Stage) -> Sequence[str]:
        assert slice is not None
        command: Command = command_of(stage, graph, slice.root, flags)
        return slice.command(command, runs)

    return here if slice is None else there


def _tell(line: str) -> None:
    print(line, flush=True)


def _write_page(stages: Sequence[Stage], runs: Path) -> None:
    """Write status.html; a full disk is no reason to stop."""
    states = read_states(stages, runs)
    with suppress(OSError):
        write_status_page(states, runs, code_revision())


def _sum_up(states: Mapping[Stage, State], runs: Path) -> str:
    """Return the counts of stages. Raises: StagesFailedError: some failed, or wait for one that did."""
    code = code_revision()
    num_others = sum(is_of_other_code(own, code) for own in states.values())
    marked = f"; {num_others} by other code, as status says" if num_others else ""
    counts = f"{runs}: {count_states(states)}{marked}"
    failed = [stage for stage, own in states.items() if own.kind == "failed"]
    blocked = {stage: own for stage, own in states.items() if own.kind == "blocked"}
    if not failed and not blocked:
        return counts
    lines = [line for stage in failed for line in format_failure(stage, runs)]
    lines += [f"{stage_id(stage)}: {describe_end(own)}" for stage, own in blocked.items()]
    raise StagesFailedError("\n".join([counts, *lines]))


def show_status(runs: Path) -> str:
    """Write DIR/status.html and return the status for the terminal; a folder that is not ours has none.

    Raises:
        InputError: nothing was run there.
    """
    states, code = read_states(list_stages(read_rows(runs)), runs), code_revision()
    with suppress(OSError):
        write_status_page(states, runs, code)
    return format_status(states, runs, code)
