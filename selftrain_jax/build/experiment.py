"""The composition root: the `build*.py`, the only readers of the whole config, compose a run from it.

Start at `build_experiment` (and at `build_data.build_sources`); every job begins there.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from selftrain_jax.build.data import check_task, stage_settings
from selftrain_jax.detection.nms import HardNMS, SoftNMS
from selftrain_jax.detection.postprocess import Postprocess
from selftrain_jax.detection.task import make_detection_task
from selftrain_jax.errors import InputError
from selftrain_jax.models.retinanet import make_retinanet
from selftrain_jax.selftrain.loss_norm import LossNormalizer, ema_loss_normalizer, plain_loss
from selftrain_jax.train.optimizer import Schedule, momentum_sgd, step_decay, warmup_cosine
from selftrain_jax.train.sharding import check_batch_size, make_mesh, with_mesh
from selftrain_jax.train.state import TrainState, create_state
from selftrain_jax.train.step import TrainStep, jit_train_step, make_train_step
from selftrain_jax.types import Category, Task


@dataclass(frozen=True)
class Experiment:
    """The pure parts of a run: what a step computes and on which devices."""

    task: Task
    mesh: Mesh
    train_step: TrainStep
    new_state: Callable[[], TrainState]


def build_experiment(
    config: ConfigDict,
    categories: tuple[Category, ...],
    num_joint_classes: int = 0,
    devices: Sequence[jax.Device] | None = None,
) -> Experiment:
    """Compose network, losses, optimizer and devices; nothing is computed yet.

    With joint training (`num_joint_classes`) the backbone also classifies whole images. `devices` are
    all of JAX's unless given.

    Raises:
      InputError: a value that does not exist or does not fit.
    """
    task = build_task(config, categories)
    if num_joint_classes:
        from selftrain_jax.build.classification import build_joint_task

        task = build_joint_task(config, task, num_joint_classes)
    groups = ["teacher", "student", "eval", *(["joint"] if config.joint.weight else [])]
    return compose(config, task, build_normalizer(config), groups, devices)


def compose(
    config: ConfigDict,
    task: Task,
    normalizer: LossNormalizer,
    groups: list[str],
    devices: Sequence[jax.Device] | None = None,
) -> Experiment:
    """Give a task the optimizer and all devices; `groups` of the config have a batch size to check.

    Raises:
      InputError: the devices do not divide a batch, or an optimizer setting does not fit.
    """
    optimizer, mesh = config.optimizer, make_mesh(devices=devices, **config.mesh.to_dict())
    for group in groups:
        try:
            check_batch_size(config[group].batch_size, mesh)
        except InputError as error:
            raise InputError(f"config.{group}.batch_size={config[group].batch_size}: {error}") from None
    tx = momentum_sgd(
        momentum=optimizer.momentum,
        weight_decay=optimizer.weight_decay,
        clip_norm=optimizer.clip_norm,
        decay_bn=optimizer.decay_bn,
    )
    step = make_train_step(
        task._replace(loss=with_mesh(mesh, task.loss)),
        tx,
        normalizer,
        accumulation=optimizer.accumulation,
        ema_decay=optimizer.ema_decay,
        remat=optimizer.remat,
    )
    rng = jax.random.key(config.seed)
    new_state = functools.partial(create_state, task, tx, normalizer, rng, optimizer.ema_decay > 0)
    return Experiment(task, mesh, jit_train_step(step, mesh), new_state)


def build_normalizer(config: ConfigDict) -> LossNormalizer:
    """Return the loss normalisation; its decay is an optimizer step's whatever the accumulation."""
    settings = config.selftrain
    if settings.loss_norm == "ema":
        return ema_loss_normalizer(settings.alpha, settings.decay ** (1 / config.optimizer.accumulation))
    if settings.loss_norm == "plain":
        return plain_loss(settings.alpha)
    raise InputError(f"config.selftrain.loss_norm={settings.loss_norm!r} is not one of ema, plain")


def build_task(config: ConfigDict, categories: tuple[Category, ...]) -> Task:
    """Return the init, loss and predict of config.task's network for these classes.

    Raises:
      InputError: config.task or config.model names what does not exist, or values do not go together.
    """
    check_task(config)
    if config.task == "segmentation":
        from selftrain_jax.tasks.segmentation.data import build_segmentation_task

        return build_segmentation_task(config, categories)
    return _build_detection_task(config, categories)


def _build_detection_task(config: ConfigDict, categories: tuple[Category, ...]) -> Task:
    if config.postprocess.max_detections > config.image.max_boxes:
        raise InputError(
            f"config.postprocess.max_detections={config.postprocess.max_detections} boxes of the teacher may "
            f"not fit into config.image.max_boxes={config.image.max_boxes} slots; raise the latter"
        )
    fields = config.model.to_dict()
    anchor_size = fields.pop("anchor_size")
    num_classes = max(category.id for category in categories) + 1
    try:
        model = make_retinanet(num_classes=num_classes, **fields)
    except InputError as error:
        raise InputError(f"config.model: {error}") from None
    return make_detection_task(
        model=model,
        image_size_px=config.image.size_px,
        anchor_size=anchor_size,
        postprocess=build_postprocess(config.postprocess),
        **config.loss.to_dict(),
    )


def build_postprocess(settings: ConfigDict) -> Postprocess:
    """Return how config.postprocess selects boxes."""
    nms: HardNMS | SoftNMS = HardNMS(settings.iou_threshold)
    if settings.soft_nms_sigma > 0:
        nms = SoftNMS(settings.soft_nms_sigma, settings.soft_nms_convention)
    return Postprocess(
        score_threshold=settings.score_threshold,
        pre_nms_top_k=settings.pre_nms_top_k,
        max_detections=settings.max_detections,
        nms=nms,
    )


def build_schedule(config: ConfigDict, stage: str) -> tuple[Schedule, int]:
    """Return a stage's learning rate by step, and its number of steps; the control has the student's.

    Raises:
      InputError: the schedule does not exist, or warm-up and drops do not fit into the steps.
    """
    settings, optimizer = stage_settings(config, stage), config.optimizer
    peak, num_steps = settings.learning_rate, settings.steps
    warmup = (peak, peak * optimizer.warmup_start_frac, optimizer.warmup_steps)
    if optimizer.schedule == "cosine":
        return warmup_cosine(*warmup, num_steps), num_steps
    if optimizer.schedule == "step":
        drop_steps = [round(frac * num_steps) for frac in optimizer.drop_fracs]
        return step_decay(*warmup, drop_steps), num_steps
    raise InputError(f"config.optimizer.schedule={optimizer.schedule!r} is not one of cosine, step")
