"""What the stages of a plan take: parameters, memory, disk and time, as lines to print."""

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import jax
import numpy as np

from selftrain_jax.build.data import stage_batch_size
from selftrain_jax.jobs.plan_states import PlannedStage, is_bound
from selftrain_jax.jobs.run import Run
from selftrain_jax.jobs.stage_state import LABELS
from selftrain_jax.plan.disk import (
    count_checkpoint_bytes,
    count_checkpoints,
    estimate_shard_bytes,
    free_bytes,
)
from selftrain_jax.plan.memory import Memory, count_parameters, estimate_memory
from selftrain_jax.plan.speed import Speed, find_labelling_speed, find_training_speed
from selftrain_jax.run_files.variants import variant_folders
from selftrain_jax.stages.choices import has_joint_training
from selftrain_jax.stages.graph import Stage
from selftrain_jax.stages.settings import deciding_settings
from selftrain_jax.stages.versions import device_name
from selftrain_jax.text import duration
from selftrain_jax.train.checkpoint_files import saved_steps
from selftrain_jax.train.state import TrainState
from selftrain_jax.types import Batch, ClassTargets

if TYPE_CHECKING:
    from selftrain_jax.jobs.measure import Measured

UNKNOWN = "unknown: --measure times ten steps now"


def state_shapes(run: Run) -> TrainState:
    """Return the shapes of a run's state; nothing is computed."""
    return jax.eval_shape(run.experiment.new_state)


def batch_shapes(run: Run, stage: Stage) -> Batch:
    """Return the shapes of a stage's batch, of all devices together."""
    config = run.config
    size = stage_batch_size(config, stage.kind)
    batch = _batch(size, config.image.size_px, run.self_training.target_shapes(config, size))
    if not has_joint_training(config, stage.kind):
        return batch
    num = config.joint.batch_size
    targets = ClassTargets(cast(Any, jax.ShapeDtypeStruct((num,), np.int32)))
    return batch._replace(auxiliary=_batch(num, config.joint.size_px, targets))


def _batch(size: int, side_px: int, targets: Any) -> Batch:
    array = cast(Any, jax.ShapeDtypeStruct)
    images, covered_px = array((size, side_px, side_px, 3), np.uint8), array((size, 2), np.int32)
    return Batch(images, targets, array((size,), np.bool_), covered_px=covered_px)


def memory_of(run: Run, stage: Stage, state: TrainState) -> Memory:
    """Estimate a stage's memory on one device, from shapes."""
    optimizer = run.config.optimizer
    return estimate_memory(
        run.experiment.mesh,
        run.experiment.task.loss,
        state,
        batch_shapes(run, stage),
        accumulation=optimizer.accumulation,
        is_remat=optimizer.remat != "none",
    )


def largest_memory(run: Run, state: TrainState, stages: Sequence[Stage]) -> tuple[Stage, Memory]:
    """Return the stage that needs the most memory, and how much."""
    by_batch = {stage_batch_size(run.config, stage.kind): stage for stage in stages}
    largest = by_batch[max(by_batch)]
    return largest, memory_of(run, largest, state)


def describe_network(run: Run, state: TrainState, stages: Sequence[Stage]) -> list[str]:
    """Return the lines about parameters and memory, of the stage that needs the most."""
    largest, memory = largest_memory(run, state, stages)
    parts = ", ".join(f"{name} {format_bytes(size)}" for name, size in vars(memory).items() if size)
    return [
        f"network: {count_parameters(state):,} parameters",
        f"memory: about {format_bytes(memory.total)} on each of {device_name()} for the {largest.folder}'s "
        "step, estimated from shapes",
        f"  {parts} (within a factor of 2; the rest is exact)",
    ]


def describe_disk(run: Run, planned: Sequence[PlannedStage], state: TrainState) -> list[str]:
    """Return the lines about what will be written, and a warning where it does not fit."""
    labels = sum(_label_bytes_left(run, stage) for stage in planned)
    saved = sum(_checkpoint_bytes_left(run, stage, state) for stage in planned)
    free, where = free_bytes(run.workdir)
    lines = [
        f"disk: about {format_bytes(labels + saved)} to be written, {format_bytes(free)} free in {where}",
        f"  checkpoints {format_bytes(saved)}, label shards {format_bytes(labels)} (they copy the images)",
    ]
    if labels + saved > free:
        lines.append("warning: this does not fit; make room, or choose another --workdir")
    return lines


def _label_bytes_left(run: Run, planned: PlannedStage) -> int:
    if planned.stage.kind != LABELS or not planned.left or run.sources.unlabeled is None:
        return 0
    total = estimate_shard_bytes(
        run.sources.unlabeled, lambda size_px: run.self_training.label_bytes(run.config, size_px)
    )
    return total * planned.left // planned.total


def _checkpoint_bytes_left(run: Run, planned: PlannedStage, state: TrainState) -> int:
    if planned.stage.kind == LABELS or not planned.left:
        return 0
    settings = run.config.checkpoint
    held = count_checkpoints(
        planned.total, settings.every_steps, settings.keep, has_best=run.config.eval.every_steps > 0
    )
    there = len(saved_steps(planned.folder)) if planned.folder and planned.done else 0
    return max(held - there, 0) * count_checkpoint_bytes(state)


def describe_measured(measured: "Measured | None") -> list[str]:
    """Return the line about a step that was compiled and timed."""
    if measured is None:
        return []
    size = measured.step_bytes
    memory = "" if size is None else f", {format_bytes(size)} on each device as compiled"
    return [f"teacher's step: compiled in {duration(measured.compile_secs)}{memory}"]


def describe_time(run: Run, planned: Sequence[PlannedStage], measured: "Measured | None" = None) -> list[str]:
    """Return the time left, stage by stage, by what was measured now or else in folders."""
    lines, total_secs, is_known = [], 0.0, True
    for stage in planned:
        if not stage.left:
            continue
        speed = _speed_of(run, stage.stage, measured)
        images = stage.left * _images_a_step(run, stage.stage)
        if speed is None:
            lines.append(f"  {stage.stage.folder}: {UNKNOWN}")
            is_known = False
            continue
        total_secs += images / speed.images_per_sec
        most = "at most " if is_bound(run, stage) else ""
        lines.append(
            f"  {stage.stage.folder}: {most}{duration(images / speed.images_per_sec)}, {images:,} images at "
            f"{speed.images_per_sec:,.1f} images/s ({speed.source})"
        )
    if not lines:
        return ["time left: none to train or label"]
    if not total_secs:
        return [f"time left: {UNKNOWN}"]
    most = "at most " if any(is_bound(run, stage) for stage in planned) else ""
    total = f"{most}about {duration(total_secs)}" + ("" if is_known else " and what is unknown")
    return [f"time left: {total}, without compiling, evaluations and checkpoints", *lines]


def _images_a_step(run: Run, stage: Stage) -> int:
    return 1 if stage.kind == LABELS else stage_batch_size(run.config, stage.kind)


def _speed_of(run: Run, stage: Stage, measured: "Measured | None") -> Speed | None:
    """Take what was measured now, or look in the folders of the run, its base and all variants."""
    num_models = len(run.labellers_of(stage)) if stage.kind == LABELS else 1
    if not num_models:
        return None  # labels that other models made: no network of ours takes part
    if measured is not None:
        speed = measured.labelling if stage.kind == LABELS else measured.training
        return speed and speed.divided(num_models)
    workdirs = dict.fromkeys([run.workdir, run.base, *variant_folders(run.base).values()])
    is_labels = stage.kind == LABELS
    names = ["pseudo_labels"] if is_labels else dict.fromkeys([stage.kind, "student", "control", "teacher"])
    own = run.workdir / stage.folder
    folders: list[pathlib.Path] = [own, *(workdir / name for workdir in workdirs for name in names)]
    if is_labels:
        settings = deciding_settings(run.config, LABELS, run.task.idle_keys)
        found = find_labelling_speed(folders, settings, run.self_training.label_pixels, num_models)
    else:
        found = find_training_speed(folders, deciding_settings(run.config, "teacher", run.task.idle_keys))
    preset = None if found else _preset_speed(run, is_labels)
    return found or (preset and preset.divided(num_models))


def _preset_speed(run: Run, is_labels: bool) -> Speed | None:
    """Return the speed that the preset's network was measured with; None of another, or without a preset."""
    preset, config = run.config.preset, run.config
    if (config.model.backbone, config.image.size_px) != (preset.backbone, preset.size_px):
        return None
    speed = preset.label_images_per_second if is_labels else preset.train_images_per_second
    if is_labels and run.tiles_to_label is not None and run.sources.unlabeled is not None:
        speed *= len(run.sources.unlabeled) / run.tiles_to_label  # of images; the preset's is of the input
    return Speed(speed, f"as measured for the preset {preset.name}") if speed else None


def format_bytes(size: int | float) -> str:
    """Write bytes in decimal units, as disks are sold."""
    for unit in ("B", "kB", "MB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} GB" if size < 999.5 else f"{size:,.0f} GB"
