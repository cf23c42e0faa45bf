"""Network, losses, optimizer and devices of a run, composed from its config; start at `build_experiment`."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from selftrain_jax.build.batch_norm import check_batch_norm, with_statistics
from selftrain_jax.build.data import stage_batch_size, stage_settings
from selftrain_jax.build.joint import build_joint_task
from selftrain_jax.build.optimizer import build_optimizer
from selftrain_jax.build.student_batch import split_batch
from selftrain_jax.errors import InputError
from selftrain_jax.models.frozen_backbone import freeze_backbone
from selftrain_jax.models.input_normalization import take_pixels
from selftrain_jax.selftrain import mixing
from selftrain_jax.selftrain.loss_norm import LossNormalizer, ema_loss_normalizer, plain_loss
from selftrain_jax.stages.choices import batch_norm_of, compared_kinds, peak_rate
from selftrain_jax.tasks.lookup import get_task
from selftrain_jax.train.optimizer import Schedule, step_decay, warmup_constant, warmup_cosine
from selftrain_jax.train.sharding import check_batch_size, make_mesh, with_mesh
from selftrain_jax.train.state import TrainState, create_state
from selftrain_jax.train.step import TrainStep, jit_train_step, make_train_step
from selftrain_jax.types import Category, Task

HALF_AND_HALF = 2


class StepKind(NamedTuple):
    """What sets a stage's training step apart from another stage's."""

    statistics: str  # of BatchNorm, as in `with_statistics`
    period: int  # after so many images the pattern of human and pseudo labels repeats


@dataclass(frozen=True)
class Experiment:
    """The pure parts of a run: what a step computes and on which devices."""

    task: Task  # of pixels as the pipeline makes them (`take_pixels`)
    mesh: Mesh
    train_step: TrainStep
    new_state: Callable[[], TrainState]


def build_experiment(
    config: ConfigDict,
    categories: tuple[Category, ...],
    num_joint_classes: int = 0,
    devices: Sequence[jax.Device] | None = None,
    *,
    ema_ramp: bool = True,
    stage: str = "teacher",
) -> Experiment:
    """Compose network, losses, optimizer and devices of a stage; nothing is computed yet.

    With joint training (`num_joint_classes`) the backbone also classifies whole images. `devices` are
    all of JAX's unless given. `ema_ramp=False` averages weights as older runs did (`make_train_step`).
    Stages differ by `step_kind`; their states are alike.

    Raises:
        InputError: a value that does not exist or does not fit.
    """
    check_batch_norm(config)
    statistics, period = step_kind(config, stage)
    task = with_statistics(get_task(config.task).build_task(config, categories), statistics)
    if num_joint_classes:
        task = build_joint_task(config, task, num_joint_classes, statistics)
    groups = ["teacher", "student", "eval", *(["joint"] if config.joint.weight else [])]
    normalizer = build_normalizer(config)
    experiment = compose(config, task, normalizer, groups, devices, ema_ramp=ema_ramp, period=period)
    if "control_half" in compared_kinds(config):
        batch_size = config.student.batch_size
        name = (
            f"config.student.batch_size={batch_size}, config.student.control={config.student.control}: half"
        )
        check_batch(stage_batch_size(config, "control_half"), name, experiment.mesh)
    return experiment


def step_kind(config: ConfigDict, stage: str) -> StepKind:
    """Return what sets a stage's step apart; stages of one kind share what is compiled.

    Raises:
        InputError: the student's batch cannot be split, or as `batch_norm_of`.
    """
    statistics = batch_norm_of(config, stage)
    if config.unlabeled.kind == "none":
        return StepKind(statistics, HALF_AND_HALF)
    split = split_batch(config)  # of all stages: now, not after the teacher has been trained
    return StepKind(statistics, mixing.period(*split) if stage == "student" else HALF_AND_HALF)


def compose(
    config: ConfigDict,
    task: Task,
    normalizer: LossNormalizer,
    groups: list[str],
    devices: Sequence[jax.Device] | None = None,
    *,
    ema_ramp: bool = True,
    period: int = HALF_AND_HALF,
) -> Experiment:
    """Give a task the optimizer and all devices; `groups` of the config have a batch size to check.

    `ema_ramp` is as in `build_experiment`, `period` as in `make_train_step`.

    Raises:
        InputError: the devices do not divide a batch, or an optimizer setting does not fit.
    """
    task = take_pixels(task)
    task = freeze_backbone(task) if config.optimizer.freeze_backbone else task
    optimizer, mesh = config.optimizer, make_mesh(devices=devices, **config.mesh.to_dict())
    for group in groups:
        check_batch(config[group].batch_size, f"config.{group}.batch_size", mesh)
    tx = build_optimizer(optimizer)
    step = make_train_step(
        task._replace(loss=with_mesh(mesh, task.loss)),
        tx,
        normalizer,
        accumulation=optimizer.accumulation,
        ema_decay=optimizer.ema_decay,
        ema_ramp=ema_ramp,
        remat=optimizer.remat,
        period=period,
    )
    rng = jax.random.key(config.seed)
    new_state = functools.partial(create_state, task, tx, normalizer, rng, optimizer.ema_decay > 0)
    return Experiment(task, mesh, jit_train_step(step, mesh), new_state)


def check_batch(batch_size: int, name: str, mesh: Mesh) -> None:
    """See that the devices divide a batch. Raises: InputError, which calls it `name`."""
    try:
        check_batch_size(batch_size, mesh)
    except InputError as error:
        raise InputError(f"{name}={batch_size}: {error}") from None


def build_normalizer(config: ConfigDict) -> LossNormalizer:
    """Return the loss normalisation; its decay is an optimizer step's whatever the accumulation."""
    settings = config.selftrain
    if settings.loss_norm == "ema":
        return ema_loss_normalizer(settings.alpha, settings.decay ** (1 / config.optimizer.accumulation))
    if settings.loss_norm == "plain":
        return plain_loss(settings.alpha)
    raise InputError(f"config.selftrain.loss_norm={settings.loss_norm!r} is not one of ema, plain")


def build_schedule(config: ConfigDict, stage: str) -> tuple[Schedule, int]:
    """Return a stage's learning rate by step, and its number of steps, with a patience at most so many.

    What is compared with the student has the student's.

    Raises:
        InputError: the schedule does not exist, warm-up and drops do not fit into the steps, or the student's
            rate is no rate.
    """
    settings, optimizer = stage_settings(config, stage), config.optimizer
    peak, num_steps = peak_rate(config, stage), settings.steps
    warmup = (peak, peak * optimizer.warmup_start_frac, optimizer.warmup_steps)
    if optimizer.schedule == "cosine":
        return warmup_cosine(*warmup, num_steps), num_steps
    if optimizer.schedule == "step":
        drop_steps = [round(frac * num_steps) for frac in optimizer.drop_fracs]
        return step_decay(*warmup, drop_steps), num_steps
    if optimizer.schedule == "constant":
        return warmup_constant(*warmup, num_steps), num_steps
    raise InputError(f"config.optimizer.schedule={optimizer.schedule!r} is not one of cosine, step, constant")


def check_patience(config: ConfigDict) -> None:
    """Refuse a patience that no stage can have.

    Raises:
        InputError: it is no whole number from 0, or val is not measured while a stage trains.
    """
    for group in ("teacher", "student"):
        patience = config[group].patience
        if patience < 0:
            raise InputError(
                f"config.{group}.patience={patience}; expected a number of evaluations, or 0: all steps"
            )
        if patience and config.eval.every_steps < 1:
            raise InputError(
                f"config.{group}.patience={patience}, but config.eval.every_steps={config.eval.every_steps}: "
                "val is measured only after the last step, so nothing can end earlier; set "
                f"config.eval.every_steps to the steps between two evaluations, or config.{group}.patience=0"
            )


def describe_rate(config: ConfigDict) -> list[str]:
    """Say which learning rate student and control have where it follows the teacher's; else nothing."""
    student = config.student
    if not student.rate_factor:
        return []
    peak, teachers = peak_rate(config, "student"), peak_rate(config, "teacher")
    text = (
        f"peak learning rate {peak:g}, the teacher's {teachers:g} x {student.rate_factor:g} "
        f"(config.student.rate_factor); "
        f"config.student.learning_rate={student.learning_rate:g} is not used"
    )
    return [text]
