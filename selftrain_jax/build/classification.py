"""The part of the config that is about classification: pre-training, and joint training's second stream.

Start at `build_class_sources` and `build_pretraining` (config.data, config.pretrain); for joint training at
`open_joint_source`, `build_joint_task` and `build_joint_batches` (config.joint).
"""

import pathlib
from dataclasses import dataclass

from ml_collections import ConfigDict

from selftrain_jax.build.data import STAGE_SEEDS
from selftrain_jax.build.experiment import Experiment, compose
from selftrain_jax.classification.joint import attach, make_joint_task
from selftrain_jax.classification.task import make_classification_task
from selftrain_jax.data.source import Source, cached
from selftrain_jax.data.sources.image_folder import check_same_classes, read_class_folder
from selftrain_jax.errors import InputError
from selftrain_jax.models.classifier import Classifier, make_classifier
from selftrain_jax.models.detector import make_backbone
from selftrain_jax.models.layers import LayerStyle
from selftrain_jax.selftrain.loss_norm import plain_loss
from selftrain_jax.train.optimizer import Schedule, warmup_cosine
from selftrain_jax.types import Batches, Task

PRETRAIN_SEED, JOINT_SEED = 3, 700


@dataclass(frozen=True)
class ClassSources:
    """Classified images to train on and to measure on, of the same classes."""

    train: Source
    val: Source


def build_class_sources(config: ConfigDict) -> ClassSources:
    """Open config.data's splits train and val; no image is decoded.

    Raises:
      InputError: a data set is missing or malformed, or the splits' classes differ.
    """
    train, val = (open_classes(config.data, split, "data") for split in (config.data.train, config.data.val))
    check_same_classes(train, val)
    return ClassSources(train, val)


def open_classes(where: ConfigDict, split: str, group: str) -> Source:
    """Open a split of classified images; `where` is config.data or config.joint, `group` its name.

    Raises:
      InputError: it is missing or malformed.
    """
    kind = where.kind
    if kind == "auto":
        kind = "folder" if where.dir else "tfds"
    if kind == "folder":
        if not where.dir:
            raise InputError(f"config.{group}.dir is empty; name the folder that holds {split}/<class>/*.jpg")
        return read_class_folder(pathlib.Path(where.dir) / split)
    if kind == "tfds":
        from selftrain_jax.data.sources.tfds import read_tfds_classes

        split = {"val": "validation"}.get(split, split)  # as TFDS calls it
        return read_tfds_classes(where.tfds, split, data_dir=where.dir or None)
    raise InputError(
        f"config.{group}.kind={where.kind!r} of classified images is not one of folder, tfds, auto"
    )


def build_classifier(config: ConfigDict, num_classes: int) -> Classifier:
    """Return the classifier on the same backbone as config.model's detector.

    Raises:
      InputError: the backbone does not exist, or its settings do not fit it.
    """
    model = config.model
    style = LayerStyle(model.activation, model.bn_momentum, model.bn_epsilon, model.dtype)
    try:
        classifier = make_classifier(model.backbone, num_classes, dtype=model.dtype)
        backbone = make_backbone(
            model.backbone,
            width_factor=model.width_factor,
            bn_momentum=model.backbone_bn_momentum,
            drop_connect_rate=model.drop_connect_rate,
            pool_padding=model.pool_padding,
            style=style,
        )
    except InputError as error:
        raise InputError(f"config.model: {error}") from None
    return classifier.clone(backbone=backbone)


def build_pretraining(config: ConfigDict, num_classes: int) -> Experiment:
    """Compose the classification task, the optimizer and the devices; nothing is computed yet.

    Raises:
      InputError: a value that does not exist or does not fit.
    """
    task = make_classification_task(
        model=build_classifier(config, num_classes),
        image_size_px=config.image.size_px,
        label_smoothing=config.pretrain.label_smoothing,
    )
    return compose(config, task, plain_loss(0.0), ["pretrain", "eval"])


def build_pretrain_schedule(config: ConfigDict) -> Schedule:
    """Return the learning rate by step: warm-up, then half a cosine.

    Raises:
      InputError: another schedule is asked for, or the warm-up does not fit into the steps.
    """
    settings, optimizer = config.pretrain, config.optimizer
    if optimizer.schedule != "cosine":
        raise InputError(f"config.optimizer.schedule={optimizer.schedule!r}: pre-training has cosine alone")
    peak = settings.learning_rate
    return warmup_cosine(peak, peak * optimizer.warmup_start_frac, optimizer.warmup_steps, settings.steps)


def build_pretrain_batches(config: ConfigDict, train: Source) -> Batches:
    """Return the stream of training batches of crops."""
    settings, seed = config.pretrain, 1000 * config.seed + PRETRAIN_SEED
    return _build_class_batches(config, settings, train, config.image.size_px, seed)


def open_joint_source(config: ConfigDict) -> Source:
    """Open the second stream's images, config.joint. Raises: InputError when missing or malformed."""
    return open_classes(config.joint, config.joint.split, "joint")


def build_joint_task(config: ConfigDict, detection: Task, num_classes: int) -> Task:
    """Add the classification loss of config.joint, on the detector's backbone, to a detection task.

    Raises:
      InputError: a value that does not exist or does not fit.
    """
    classification = make_classification_task(
        model=build_classifier(config, num_classes),
        image_size_px=config.joint.size_px,
        label_smoothing=config.joint.label_smoothing,
    )
    return make_joint_task(detection, classification, weight=config.joint.weight)


def build_joint_batches(config: ConfigDict, stage: str, batches: Batches, source: Source) -> Batches:
    """Attach batches of `source` to a stage's stream of detection batches, if config.joint.stage is its.

    The control has the student's.

    Raises:
      InputError: there is no such stage.
    """
    joint_stages = {"teacher": ("teacher",), "student": ("control", "student")}
    joint_stages["both"] = (*joint_stages["teacher"], *joint_stages["student"])
    if config.joint.stage not in joint_stages:
        raise InputError(f"config.joint.stage={config.joint.stage!r} is not one of {', '.join(joint_stages)}")
    if stage not in joint_stages[config.joint.stage]:
        return batches
    seed = 1000 * config.seed + JOINT_SEED + STAGE_SEEDS[stage]
    return attach(batches, _build_class_batches(config, config.joint, source, config.joint.size_px, seed))


def _build_class_batches(
    config: ConfigDict, settings: ConfigDict, source: Source, size_px: int, seed: int
) -> Batches:
    """Stream crops; `settings` is config.pretrain or config.joint."""
    from selftrain_jax.augment.crop import augment_crop
    from selftrain_jax.data.pipeline import make_batches
    from selftrain_jax.tasks.classification.targets import CLASS_TARGETS

    augment = augment_crop(
        settings.augment,
        output_size_px=size_px,
        min_area_frac=settings.min_area_frac,
        magnitude=config.augment.magnitude,
        num_layers=config.augment.num_layers,
        reference_size_px=config.augment.reference_size_px or None,
        flip_frac=config.augment.flip_frac,
    )
    return make_batches(
        cached(source, float(config.data.cache_mib)),
        CLASS_TARGETS,
        augment=augment,
        batch_size=settings.batch_size,
        seed=seed,
        max_bad_images=config.data.max_bad_images,
        max_stall_secs=float(config.data.max_stall_secs),
    )
