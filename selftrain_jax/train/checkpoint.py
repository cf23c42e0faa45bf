"""Checkpoints of a stage, written whole or not at all.

Training opens `Checkpoints(directory)`; everything else calls `restore_variables(stage, "best", template)`.
A checkpoint has the variables, the rest of the train state, and a small JSON about itself. Only this module
and `train.checkpoint_manager`, which finds checkpoints, use orbax.
"""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from selftrain_jax import hosts
from selftrain_jax.errors import InputError
from selftrain_jax.named_arrays import check_names, shapes_by_name
from selftrain_jax.named_arrays import digest as digest  # tells which weights a checkpoint has
from selftrain_jax.run_files.cost import NO_COST, Cost
from selftrain_jax.train.checkpoint_files import (
    FOLDER_NAME,
    check_disk_space,
    explain_full_disk,
    find_damage,
    is_full_disk,
    remove_unfinished,
    write_checksums,
)
from selftrain_jax.train.checkpoint_manager import (
    choose_step,
    find_best_step,
    open_manager,
    open_step,
    read_about,
)
from selftrain_jax.train.patience import Measured
from selftrain_jax.train.state import TrainState, from_items, to_items
from selftrain_jax.types import Variables


class Checkpoints:
    """The checkpoints of one stage's folder. The end of the `with` block waits for the save in progress.

    The last `keep` are kept, and the one with the highest score.
    """

    def __init__(self, directory: Path | str, *, keep: int = 2) -> None:
        if keep < 1:
            raise InputError(f"checkpoint.keep is {keep}; expected 1 or more")
        self.directory = Path(directory).absolute() / FOLDER_NAME
        self._keep = keep
        self._size_mib = 0.0
        self._evaluations: tuple[Measured, ...] = ()
        self._cost: Cost | None = NO_COST
        remove_unfinished(self.directory)
        self._manager = open_manager(self.directory, for_writing=True)

    def latest_step(self) -> int | None:
        """Return the step of the newest checkpoint, finished or being saved."""
        return self._manager.latest_step()

    @property
    def evaluations(self) -> tuple[Measured, ...]:
        """Return the scores up to the checkpoint saved or restored last, those of removed ones included."""
        return self._evaluations

    @property
    def cost(self) -> Cost | None:
        """Return the cost up to the checkpoint restored; None of one that an older version saved."""
        return self._cost

    def save(
        self, state: TrainState, *, score: float | None, training_secs: float, cost: Cost | None = None
    ) -> None:
        """Wait for the previous save, remove old checkpoints, and save in the background.

        Raises:
            InputError: the disk is full; nothing half-written is left.
        """
        items, step = to_items(state), int(state.step)
        if score is not None:
            self._evaluations = (*self._evaluations, Measured(step, score))
        about = {
            "score": score,
            "evaluations": [list(found) for found in self._evaluations],
            "training_secs": training_secs,
            "cost": cost.to_json() if cost else None,
            "shapes": shapes_by_name(items),
        }
        arguments = {name: ocp.args.StandardSave(item) for name, item in items.items()}
        self._size_mib = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(items)) / 2**20
        with explain_full_disk(self.directory, self._size_mib):
            self._manager.wait_until_finished()
            self._write_checksums()
            self._remove_old()
            check_disk_space(self.directory, self._size_mib)
            self._manager.save(step, args=ocp.args.Composite(about=ocp.args.JsonSave(about), **arguments))

    def restore_latest(self, template: TrainState) -> tuple[TrainState, float] | None:
        """Return the newest intact state, sharded like the template, and its training seconds.

        None if there is no checkpoint. A damaged checkpoint is reported, renamed `STEP.damaged` and skipped.
        A template of shapes (`shard_shapes`) takes no memory on the devices.

        Raises:
            InputError: the checkpoint is of another model or optimizer, or all checkpoints are damaged.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        for step in steps:
            damage = hosts.run_on_host0(functools.partial(find_damage, self.directory / str(step)))
            if damage is None:
                return self._restore(step, template)
            self._set_aside(step, damage)
        if steps:
            raise InputError(
                f"{self.directory}: every checkpoint is damaged ({damage}); check the disk, then delete "
                "the folder to train this stage again"
            )
        return None

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Finish the save in progress and remove old checkpoints."""
        if error is not None and is_full_disk(error):
            return  # already explained; closing orbax would raise it again
        with explain_full_disk(self.directory, self._size_mib):
            self._manager.wait_until_finished()
            self._write_checksums()
        self._remove_old()
        self._manager.close()
        if error is None:
            hosts.wait_for_all()  # before a host reads what another has just written or removed

    def _restore(self, step: int, template: TrainState) -> tuple[TrainState, float]:
        items, about = to_items(template), read_about(self._manager, step)
        check_names(about["shapes"], shapes_by_name(items), self.directory / str(step))
        self._evaluations = tuple(Measured(*found) for found in about.get("evaluations", ()))
        self._cost = Cost.from_json(about.get("cost"), self.directory / str(step))
        return from_items(_restore_items(self._manager, step, items), template), about["training_secs"]

    def _set_aside(self, step: int, damage: str) -> None:
        if jax.process_index() == 0:
            print(f"warning: checkpoint {step} is damaged and set aside: {damage}", flush=True)
            (self.directory / str(step)).rename(self.directory / f"{step}.damaged")
        hosts.wait_for_all()
        self._manager.reload()

    def _write_checksums(self) -> None:
        step = self._manager.latest_step()
        if step is not None and jax.process_index() == 0:
            write_checksums(self.directory / str(step))

    def _remove_old(self) -> None:
        steps = sorted(self._manager.all_steps())
        kept = {*steps[-self._keep :], find_best_step(self._manager)}
        for step in steps:
            if step not in kept:
                self._manager.delete(step)


def restore_variables(
    path: Path | str, which: int | str, template: Variables, *, use_ema: bool = True
) -> Variables:
    """Load a network's variables, with the averaged params if the run kept them.

    Args:
        path: a stage's folder, its `checkpoints` folder, or the folder of one step.
        which: a step, "last" or "best"; ignored when `path` is one step.
        template: the network's variables or their shapes (`jax.eval_shape`).
        use_ema: False loads the params of the last update instead.

    Raises:
        InputError: there is no such checkpoint, or it is of another model.
    """
    with open_step(path, which) as (manager, folder, step):
        if (damage := find_damage(folder)) is not None:
            raise InputError(
                f"checkpoint {step} is damaged: {damage}. Ask for another one, or delete "
                f"{folder} and the evaluation.json beside `{FOLDER_NAME}`: the same command "
                "then continues from the one before"
            )
        saved = read_about(manager, step)["shapes"]
        has_average = use_ema and any(name.startswith("ema/") for name in saved)
        items = {"variables": template, **({"ema": template["params"]} if has_average else {})}
        used = {name: shape for name, shape in saved.items() if name.split("/")[0] in items}
        check_names(used, shapes_by_name(items), folder)
        restored = jax.tree.map(jnp.asarray, _restore_items(manager, step, items))
    return {**restored["variables"], "params": restored["ema"]} if has_average else restored["variables"]


def restore_whole(path: Path | str, which: int | str) -> Variables:
    """Load the variables of whatever network was saved, with the averaged params if the run kept them.

    `path` and `which` are as in `restore_variables`, which also checks the network.

    Raises:
        InputError: there is no such checkpoint.
    """
    with open_step(path, which) as (manager, folder, step):
        saved = read_about(manager, step)["shapes"]
    template: dict[str, Any] = {}
    for name, shape in saved.items():
        *parents, leaf = name.split("/")
        functools.reduce(lambda tree, key: tree.setdefault(key, {}), parents, template)[leaf] = shape
    shapes = jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32),
        template["variables"],
        is_leaf=lambda node: isinstance(node, list),
    )
    return restore_variables(folder, step, shapes)


def training_secs(directory: Path | str) -> float:
    """Return the seconds of training, over all sessions, at a stage's newest checkpoint."""
    with open_step(directory, "last") as (manager, _, step):
        return read_about(manager, step)["training_secs"]


def training_cost(directory: Path | str) -> Cost | None:
    """Return the cost of training, over all sessions, at a stage's newest checkpoint; None: it is unknown."""
    with open_step(directory, "last") as (manager, folder, step):
        return Cost.from_json(read_about(manager, step).get("cost"), folder)


def find_step(directory: Path | str, which: int | str) -> int:
    """Return the step that "last", "best" or a number stands for in a stage's folder.

    Raises:
        InputError: there is no such checkpoint.
    """
    with open_step(directory, which) as (_, _, step):
        return step


def find_score(directory: Path | str, which: str) -> float | None:
    """Return the score that the "last" or "best" checkpoint was saved with; None if it was not evaluated.

    Raises:
        InputError: there is no checkpoint.
    """
    with open_manager(Path(directory).absolute() / FOLDER_NAME, for_writing=False) as manager:
        step = find_best_step(manager) if which == "best" else choose_step(manager, Path(directory), which)
        return None if step is None else read_about(manager, step)["score"]


def _restore_items(manager: ocp.CheckpointManager, step: int, templates: dict[str, Any]) -> dict[str, Any]:
    default = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])  # for templates without a sharding

    def describe(leaf: Any) -> jax.ShapeDtypeStruct:
        sharding = getattr(leaf, "sharding", None) or default
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    abstract = jax.tree.map(describe, templates)
    arguments = {name: ocp.args.StandardRestore(item) for name, item in abstract.items()}
    restored = manager.restore(step, args=ocp.args.Composite(**arguments))
    return {name: restored[name] for name in templates}
