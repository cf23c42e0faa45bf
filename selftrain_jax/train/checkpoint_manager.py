"""Folders of checkpoints as orbax keeps them: which steps there are, and what each says about itself.

`train.checkpoint` is built on this.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp

from selftrain_jax import hosts
from selftrain_jax.errors import InputError
from selftrain_jax.train.checkpoint_files import FOLDER_NAME


@contextmanager
def open_step(path: Path | str, which: int | str) -> Iterator[tuple[ocp.CheckpointManager, Path, int]]:
    """Open checkpoints to read, and choose one: (manager, its folder, its step)."""
    directory = Path(path).absolute()
    if directory.name.isdigit() and directory.is_dir():
        directory, which = directory.parent, int(directory.name)
    elif (directory / FOLDER_NAME).is_dir():
        directory /= FOLDER_NAME
    with open_manager(directory, for_writing=False) as manager:
        step = choose_step(manager, directory, which)
        yield manager, directory / str(step), step


def open_manager(directory: Path, for_writing: bool) -> ocp.CheckpointManager:
    """Open a folder of checkpoints, which is made for writing. Raises: InputError: there is none to read."""
    if not for_writing and not directory.is_dir():
        raise InputError(f"{directory}: no such folder of checkpoints; train first, or check the path")
    handlers: dict[str, Any] = {
        name: ocp.StandardCheckpointHandler() for name in ("variables", "ema", "trainer")
    }
    return ocp.CheckpointManager(
        directory,
        item_handlers={**handlers, "about": ocp.JsonCheckpointHandler()},
        options=ocp.CheckpointManagerOptions(
            create=for_writing, multiprocessing_options=_synchronized_hosts(for_writing)
        ),
    )


def _synchronized_hosts(for_writing: bool) -> ocp.options.MultiprocessingOptions:
    """Let all hosts save and resume together, but each read without waiting for the others."""
    if for_writing or hosts.count() == 1:
        return ocp.options.MultiprocessingOptions()
    index = hosts.host_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=index, active_processes={index}, barrier_sync_key_prefix=f"reader{index}"
    )


def read_about(manager: ocp.CheckpointManager, step: int) -> dict[str, Any]:
    """Return a checkpoint's JSON about itself."""
    return manager.restore(step, args=ocp.args.Composite(about=ocp.args.JsonRestore()))["about"]


def find_best_step(manager: ocp.CheckpointManager) -> int | None:
    """Return the step of the highest score; None where no checkpoint was evaluated."""
    scores = {step: read_about(manager, step)["score"] for step in manager.all_steps()}
    ranked = [(score, step) for step, score in scores.items() if score is not None and math.isfinite(score)]
    return max(ranked)[1] if ranked else None


def choose_step(manager: ocp.CheckpointManager, directory: Path, which: int | str) -> int:
    """Return the step that "last", "best" or a number stands for. Raises: InputError: there is none."""
    steps = sorted(manager.all_steps())
    if not steps:
        raise InputError(f"{directory}: there is no checkpoint in it; train first, or check the path")
    step = steps[-1] if which == "last" else find_best_step(manager) if which == "best" else which
    if step is None:
        raise InputError(f"{directory}: no checkpoint was evaluated, so there is no best one; ask for 'last'")
    if step not in steps:
        raise InputError(f"{directory}: no checkpoint {which!r}; there are 'last', 'best' and {steps}")
    return int(step)
