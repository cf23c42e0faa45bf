"""Checkpoints of a stage (the teacher's are what labels images): written whole or not at all.

Training opens `Checkpoints(directory)`; everyone else calls `restore_variables(stage, "best", template)`.
Each checkpoint holds the variables, the rest of the train state, and a small JSON about itself.
Orbax stays behind this module.
"""

import functools
import math
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from selftrain_jax import hosts
from selftrain_jax.errors import InputError
from selftrain_jax.train import checksums
from selftrain_jax.train.full_disk import check_room, explain_full_disk, is_full_disk, remove_unfinished
from selftrain_jax.train.named_arrays import check_names, shapes_by_name
from selftrain_jax.train.named_arrays import digest as digest  # which weights a checkpoint holds
from selftrain_jax.train.state import TrainState, has_ema
from selftrain_jax.types import Variables

FOLDER_NAME = "checkpoints"


class Checkpoints:
    """The checkpoints of one stage's folder. Leaving the `with` block waits for what is being saved.

    Kept are the last `keep` and the one with the highest score.
    """

    def __init__(self, directory: Path | str, *, keep: int = 2) -> None:
        if keep < 1:
            raise InputError(f"checkpoints: keep is {keep}; expected 1 or more")
        self.directory = Path(directory).absolute() / FOLDER_NAME
        self._keep = keep
        self._size_mib = 0.0
        remove_unfinished(self.directory)
        self._manager = _open(self.directory, for_writing=True)

    def latest_step(self) -> int | None:
        """Give the step of the newest checkpoint, finished or being saved."""
        return self._manager.latest_step()

    def save(self, state: TrainState, *, score: float | None, training_secs: float) -> None:
        """Save in the background, after the save before has ended and old checkpoints are removed.

        Raises:
            InputError: the disk is full; nothing half-written is left.
        """
        items = _to_items(state)
        about = {"score": score, "training_secs": training_secs, "shapes": shapes_by_name(items)}
        arguments = {name: ocp.args.StandardSave(item) for name, item in items.items()}
        self._size_mib = _size_mib(items)
        with explain_full_disk(self.directory, self._size_mib):
            self._manager.wait_until_finished()
            self._seal()
            self._remove_old()
            check_room(self.directory, self._size_mib)
            self._manager.save(
                int(state.step), args=ocp.args.Composite(about=ocp.args.JsonSave(about), **arguments)
            )

    def restore_latest(self, template: TrainState) -> tuple[TrainState, float] | None:
        """Give the newest whole state, placed as the template is, and its training seconds.

        None when there is no checkpoint. A damaged one is renamed `STEP.damaged`, said, and passed over.

        Raises:
            InputError: the checkpoint is of another model or optimizer, or all of them are damaged.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        for step in steps:
            damage = hosts.run_on_host0(functools.partial(checksums.find_damage, self.directory / str(step)))
            if damage is None:
                return self._restore(step, template)
            self._set_aside(step, damage)
        if steps:
            raise InputError(
                f"{self.directory}: every checkpoint is damaged ({damage}); look at the disk, then delete "
                "the folder to train this stage anew"
            )
        return None

    def __enter__(self) -> "Checkpoints":
        """Give the checkpoints themselves."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Finish the save under way and remove old checkpoints."""
        if error is not None and is_full_disk(error):
            return  # already explained; orbax would raise it again
        with explain_full_disk(self.directory, self._size_mib):
            self._manager.wait_until_finished()
            self._seal()
        self._remove_old()
        self._manager.close()
        if error is None:
            hosts.wait_for_all()  # a host may read what another has just written or removed

    def _restore(self, step: int, template: TrainState) -> tuple[TrainState, float]:
        items = _to_items(template)
        about = _read_about(self._manager, step)
        check_names(about["shapes"], shapes_by_name(items), self.directory / str(step))
        restored = _restore_items(self._manager, step, items)
        return _from_items(restored, template), about["training_secs"]

    def _set_aside(self, step: int, damage: str) -> None:
        if jax.process_index() == 0:
            print(f"warning: checkpoint {step} is damaged and set aside: {damage}", flush=True)
            (self.directory / str(step)).rename(self.directory / f"{step}.damaged")
        hosts.wait_for_all()
        self._manager.reload()

    def _seal(self) -> None:
        step = self._manager.latest_step()
        if step is not None and jax.process_index() == 0:
            checksums.seal(self.directory / str(step))

    def _remove_old(self) -> None:
        steps = sorted(self._manager.all_steps())
        kept = {*steps[-self._keep :], _best_step(self._manager)}
        for step in steps:
            if step not in kept:
                self._manager.delete(step)


def restore_variables(
    path: Path | str, which: int | str, template: Variables, *, use_ema: bool = True
) -> Variables:
    """Load a network's variables, with the averaged params where the run kept them.

    Args:
        path: a stage's folder, its `checkpoints` folder, or the folder of one step.
        which: a step, "last" or "best"; not looked at when `path` is one step.
        template: variables of the network to load into; shapes are enough (`jax.eval_shape`).
        use_ema: False gives the params of the last update instead.

    Raises:
        InputError: there is no such checkpoint, or it is of another model.
    """
    directory, which = _locate(Path(path).absolute(), which)
    with _open(directory, for_writing=False) as manager:
        step = _choose_step(manager, directory, which)
        damage = checksums.find_damage(directory / str(step))
        if damage is not None:
            raise InputError(
                f"checkpoint {step} is damaged: {damage}. Ask for another one, or delete "
                f"{directory / str(step)} and the evaluation.json beside `{FOLDER_NAME}`: the same command "
                "then trains on from the one before"
            )
        saved = _read_about(manager, step)["shapes"]
        has_average = use_ema and any(name.startswith("ema/") for name in saved)
        items = {"variables": template, **({"ema": template["params"]} if has_average else {})}
        found = {name: shape for name, shape in saved.items() if name.split("/")[0] in items}
        check_names(found, shapes_by_name(items), directory / str(step))
        restored = jax.tree.map(jnp.asarray, _restore_items(manager, step, items))
    return {**restored["variables"], "params": restored["ema"]} if has_average else restored["variables"]


def restore_whole(path: Path | str, which: int | str) -> Variables:
    """Load the variables of whatever network was saved, with the averaged params where they were kept.

    `path` and `which` are as in `restore_variables`, which checks the network too.

    Raises:
        InputError: there is no such checkpoint.
    """
    directory, which = _locate(Path(path).absolute(), which)
    with _open(directory, for_writing=False) as manager:
        step = _choose_step(manager, directory, which)
        saved = _read_about(manager, step)["shapes"]
    template: dict[str, Any] = {}
    for name, shape in saved.items():
        *parents, leaf = name.split("/")
        functools.reduce(lambda tree, key: tree.setdefault(key, {}), parents, template)[leaf] = shape
    shapes = jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32),
        template["variables"],
        is_leaf=lambda node: isinstance(node, list),
    )
    return restore_variables(directory / str(step), step, shapes)


def training_secs(directory: Path | str) -> float:
    """Give the seconds that a stage had trained for at its newest checkpoint, over all its sessions."""
    folder, _ = _locate(Path(directory).absolute(), "last")
    with _open(folder, for_writing=False) as manager:
        return _read_about(manager, _choose_step(manager, folder, "last"))["training_secs"]


def find_step(directory: Path | str, which: int | str) -> int:
    """Give the step that "last", "best" or a number means in a stage's folder.

    Raises:
        InputError: there is no such checkpoint.
    """
    folder, which = _locate(Path(directory).absolute(), which)
    with _open(folder, for_writing=False) as manager:
        return _choose_step(manager, folder, which)


def _open(directory: Path, for_writing: bool) -> ocp.CheckpointManager:
    if not for_writing and not directory.is_dir():
        raise InputError(f"{directory}: no such folder of checkpoints; train first, or check the path")
    handlers: dict[str, Any] = {
        name: ocp.StandardCheckpointHandler() for name in ("variables", "ema", "trainer")
    }
    return ocp.CheckpointManager(
        directory,
        item_handlers={**handlers, "about": ocp.JsonCheckpointHandler()},
        options=ocp.CheckpointManagerOptions(
            create=for_writing, multiprocessing_options=_all_hosts() if for_writing else _this_host()
        ),
    )


def _all_hosts() -> ocp.options.MultiprocessingOptions:
    """Let orbax wait for all hosts at what it does: they save and resume together."""
    return ocp.options.MultiprocessingOptions()


def _this_host() -> ocp.options.MultiprocessingOptions:
    """Let a host read for itself, whatever the others do."""
    if hosts.count() == 1:
        return _all_hosts()
    this = hosts.host_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=this, active_processes={this}, barrier_sync_key_prefix=f"reader{this}"
    )


def _to_items(state: TrainState) -> dict[str, Any]:
    trainer = {"step": state.step, "opt_state": state.opt_state, "loss_norm": state.loss_norm}
    items = {"variables": state.variables, "trainer": {**trainer, "rng": jax.random.key_data(state.rng)}}
    return {**items, "ema": state.ema} if has_ema(state) else items


def _from_items(items: dict[str, Any], template: TrainState) -> TrainState:
    trainer = dict(items["trainer"])
    rng = jax.random.wrap_key_data(trainer.pop("rng"), impl=jax.random.key_impl(template.rng))
    return TrainState(**trainer, variables=items["variables"], rng=rng, ema=items.get("ema", ()))


def _restore_items(manager: ocp.CheckpointManager, step: int, templates: dict[str, Any]) -> dict[str, Any]:
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])  # for templates that are shapes alone

    def placed(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=getattr(leaf, "sharding", None) or here)

    abstract = jax.tree.map(placed, templates)
    arguments = {name: ocp.args.StandardRestore(item) for name, item in abstract.items()}
    restored = manager.restore(step, args=ocp.args.Composite(**arguments))
    return {name: restored[name] for name in templates}


def _read_about(manager: ocp.CheckpointManager, step: int) -> dict[str, Any]:
    return manager.restore(step, args=ocp.args.Composite(about=ocp.args.JsonRestore()))["about"]


def _best_step(manager: ocp.CheckpointManager) -> int | None:
    scores = {step: _read_about(manager, step)["score"] for step in manager.all_steps()}
    ranked = [(score, step) for step, score in scores.items() if score is not None and math.isfinite(score)]
    return max(ranked)[1] if ranked else None


def _locate(path: Path, which: int | str) -> tuple[Path, int | str]:
    if path.name.isdigit() and path.is_dir():
        return path.parent, int(path.name)
    return (path / FOLDER_NAME if (path / FOLDER_NAME).is_dir() else path), which


def _choose_step(manager: ocp.CheckpointManager, directory: Path, which: int | str) -> int:
    steps = sorted(manager.all_steps())
    if not steps:
        raise InputError(f"{directory}: no checkpoint in it; train first, or check the path")
    step = steps[-1] if which == "last" else _best_step(manager) if which == "best" else which
    if step is None:
        raise InputError(f"{directory}: no checkpoint was evaluated, so none is the best; ask for 'last'")
    if step not in steps:
        raise InputError(f"{directory}: no checkpoint {which!r}; there are 'last', 'best' and {steps}")
    return int(step)


def _size_mib(items: dict[str, Any]) -> float:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(items)) / 2**20
