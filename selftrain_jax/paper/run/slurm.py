"""Stages as jobs of SLURM, each after those that it needs; call `submit_stages`.

DIR/jobs.json remembers the number of each stage's job, so that what is still queued is not submitted twice.
"""

import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from selftrain_jax.errors import InputError, printable
from selftrain_jax.io import read_json, write_json
from selftrain_jax.paper.plan.graph import Stage, stage_id
from selftrain_jax.paper.run.commands import Command, needs_of
from selftrain_jax.paper.run.logs import log_path
from selftrain_jax.paper.run.runner import describe_end, find_state
from selftrain_jax.paper.run.states import State

JOBS_FILE = "jobs.json"
SCRIPT = "launch/slurm.sbatch"
REMEDY = "It has the numbers of the jobs; delete it if none of them is in the queue."


def submit_stages(
    stages: Sequence[Stage], runs: Path, command_of: Callable[[Stage], Command], options: Sequence[str]
) -> list[str]:
    """Submit what is not finished and not queued; return a line for each stage.

    `options` are sbatch's own, for every job. A job whose input failed leaves the queue by itself.

    Raises:
        InputError: sbatch refuses a job.
    """
    jobs, lines = _read_queued(runs), list[str]()
    states: dict[Stage, State] = {}
    for stage in stages:
        name = stage_id(stage)
        states[stage] = find_state(stage, runs, states)
        if states[stage].kind != "waiting":
            lines.append(f"{name}: {describe_end(states[stage])}")
        elif name in jobs:
            lines.append(f"{name}: job {jobs[name]} is in the queue")
        else:
            before = [jobs[stage_id(own)] for own in needs_of(stage) if stage_id(own) in jobs]
            jobs[name] = _submit(stage, runs, command_of(stage), before, options)
            write_json(runs / JOBS_FILE, jobs)
            lines.append(f"{name}: job {jobs[name]}" + (f" after {', '.join(before)}" if before else ""))
    return lines


def check_slurm() -> None:
    """See that jobs can be submitted from here. Raises: InputError: there is no sbatch or no script."""
    if shutil.which("sbatch") is None:
        raise InputError("--submit=slurm: there is no sbatch on PATH; call it on a node that submits jobs")
    if not Path(SCRIPT).exists():
        raise InputError(f"--submit=slurm: there is no {SCRIPT} here; call it from the repository's root")


def _submit(stage: Stage, runs: Path, command: Command, before: Sequence[str], options: Sequence[str]) -> str:
    """Return the number of the new job. Raises: InputError: sbatch's own words."""
    after = ("--kill-on-invalid-dep=yes", f"--dependency=afterok:{':'.join(before)}") if before else ()
    own = ("--parsable", f"--job-name={stage_id(stage)}", f"--output={log_path(stage, runs)}", *after)
    done = subprocess.run(
        ["sbatch", *own, *options, SCRIPT, *command.arguments], capture_output=True, text=True
    )
    number = done.stdout.strip().partition(";")[0]  # a cluster's name may follow
    if done.returncode or not number.isdigit():
        words = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        raise InputError(f"sbatch refused {stage_id(stage)}: {printable(words)}")
    return number


def _read_queued(runs: Path) -> dict[str, str]:
    """Return the jobs that SLURM still has, by stage. Raises: InputError: the file is damaged."""
    path = runs / JOBS_FILE
    found = read_json(path, REMEDY) if path.exists() else {}
    if not isinstance(found, Mapping) or not all(isinstance(own, str) for own in found.values()):
        raise InputError(f"{path}: expected numbers of jobs by stage. {REMEDY}")
    return {name: number for name, number in found.items() if _is_queued(number)}


def _is_queued(number: str) -> bool:
    if shutil.which("squeue") is None:
        return False
    command = ["squeue", "--noheader", f"--jobs={number}"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode == 0 and bool(done.stdout.strip())
