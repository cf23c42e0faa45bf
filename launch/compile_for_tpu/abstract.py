"""A run's training step and pseudo-label step with shapes instead of arrays; call `training_step`."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from selftrain_jax.build.data import stage_settings
from selftrain_jax.build.experiment import build_experiment
from selftrain_jax.data.sources.coco import COCO_CATEGORIES
from selftrain_jax.detection import boxes as box_ops
from selftrain_jax.detection.anchors import make_anchors
from selftrain_jax.detection.postprocess import select_detections
from selftrain_jax.errors import InputError
from selftrain_jax.models.cost import count_multiply_adds
from selftrain_jax.models.input_padding import padded_size
from selftrain_jax.tasks.detection.postprocess import build_postprocess, nms_score_threshold
from selftrain_jax.train.sharding import batch_sharding, make_mesh, shard_shapes, with_mesh
from selftrain_jax.types import Batch, BoxTargets, Category, Detections, FittedImages, MaskTargets

NUM_VOC_CLASSES = 21  # with the background


class AbstractStep(NamedTuple):
    """A jitted function and the shapes of its arguments."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    multiply_adds: int  # of a forward pass over the whole batch
    batch_size: int  # of all devices together
    mesh: Mesh


def training_step(config: ConfigDict, stage: str, devices: Sequence[jax.Device]) -> AbstractStep:
    """Return a stage's training step on these devices.

    Raises:
        InputError: the config does not fit, or the devices do not divide its batch.
    """
    experiment = build_experiment(config, categories_of(config), devices=devices, stage=stage)
    batch_size, mesh = stage_settings(config, stage).batch_size, experiment.mesh
    state = jax.eval_shape(experiment.new_state)
    batch = make_batch(config, batch_size)
    rate = jax.ShapeDtypeStruct((), jnp.float32, sharding=NamedSharding(mesh, PartitionSpec()))
    arguments = (shard_shapes(mesh, state), _shard_batch(mesh, batch), rate)
    pair = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((2, *leaf.shape[1:]), leaf.dtype), batch)
    key = jax.eval_shape(lambda: jax.random.key(0))
    forward = count_multiply_adds(experiment.task.loss, state.variables, pair, key) * batch_size // 2
    return AbstractStep(experiment.train_step, arguments, forward, batch_size, mesh)


def label_step(config: ConfigDict, devices: Sequence[jax.Device]) -> AbstractStep:
    """Return the teacher's step for config.eval.batch_size unlabelled images, on the devices of one host."""
    experiment = build_experiment(config, categories_of(config), devices=devices)
    mesh, batch_size, size_px = experiment.mesh, config.eval.batch_size, config.image.size_px
    variables = jax.eval_shape(experiment.task.init, jax.eval_shape(lambda: jax.random.key(0)))
    fitted, pair = (make_fitted(size, size_px) for size in (batch_size, 2))
    predict = experiment.task.predict
    forward = count_multiply_adds(predict, variables, pair) * batch_size // 2
    arguments = (shard_shapes(mesh, variables), _shard_batch(mesh, fitted))
    return AbstractStep(jax.jit(with_mesh(mesh, predict)), arguments, forward, batch_size, mesh)


def selection_step(config: ConfigDict, devices: Sequence[jax.Device]) -> AbstractStep:
    """Return the part of a detector's label step that turns the network's outputs into boxes."""
    mesh, batch_size, size_px = make_mesh(devices=devices), config.eval.batch_size, config.image.size_px
    levels = {"min_level": config.model.min_level, "max_level": config.model.max_level}
    input_px = padded_size(size_px, 2**config.model.max_level)
    anchors = make_anchors(image_size_px=input_px, anchor_size=config.model.anchor_size, **levels)
    num_classes = max(category.id for category in categories_of(config)) + 1
    shape = (batch_size, len(anchors))
    outputs = [jax.ShapeDtypeStruct((*shape, size), jnp.float32) for size in (num_classes, 4)]
    settings = build_postprocess(config.postprocess, nms_score_threshold(config))

    def select(logits: jax.Array, outputs: jax.Array) -> Detections:
        boxes = box_ops.clip(box_ops.decode(outputs, jnp.asarray(anchors)), size_px)
        return select_detections(boxes, logits, settings)

    return AbstractStep(jax.jit(select), tuple(_shard_batch(mesh, outputs)), 0, batch_size, mesh)


def categories_of(config: ConfigDict) -> tuple[Category, ...]:
    """Return the classes of the data sets that the paper trains on; no file is opened.

    Raises:
        InputError: the config is for a data set of the user's own, whose classes are in its files.
    """
    if config.task == "segmentation" and config.data.kind == "voc":
        return tuple(Category(number, f"class {number}") for number in range(NUM_VOC_CLASSES))
    if config.task == "detection" and config.data.kind in ("tfds", "coco"):
        return tuple(COCO_CATEGORIES)
    raise InputError(
        f"config.data.kind={config.data.kind} for {config.task}: only runs on COCO or VOC are compiled ahead"
    )


def make_batch(config: ConfigDict, batch_size: int) -> Batch:
    """Return the shapes of a batch of config.task."""
    size_px, slots = config.image.size_px, config.image.max_boxes

    def array(dtype: Any, *shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((batch_size, *shape), dtype)

    targets: Any = MaskTargets(array(jnp.uint8, size_px, size_px))
    if config.task == "detection":
        flags = array(jnp.bool_, slots)
        targets = BoxTargets(array(jnp.float32, slots, 4), array(jnp.int32, slots), flags, flags)
    images, covered_px = make_fitted(batch_size, size_px)
    return Batch(images, targets, array(jnp.bool_), covered_px=covered_px)


def make_fitted(batch_size: int, size_px: int) -> FittedImages:
    """Return the shapes of images on their way to the network."""
    array: Any = jax.ShapeDtypeStruct
    return FittedImages(
        array((batch_size, size_px, size_px, 3), jnp.uint8), array((batch_size, 2), jnp.int32)
    )


def _shard_batch(mesh: Mesh, tree: Any) -> Any:
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        tree,
        batch_sharding(mesh, tree),
    )
