"""SimCLR as a pre-training objective: images of any data set, their labels unused; `SIMCLR` has it all."""

import pathlib

from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.build.objective import Objective
from selftrain_jax.contrastive.loss import check_temperature
from selftrain_jax.contrastive.task import TOP1, make_contrastive_task
from selftrain_jax.data.source import Source, without_labels
from selftrain_jax.data.sources.image_folder import read_class_folder, read_image_folder
from selftrain_jax.errors import InputError
from selftrain_jax.models.projection import ProjectedBackbone, make_projected_backbone
from selftrain_jax.models.settings import NetworkSettings
from selftrain_jax.run_files.evaluation import Evaluation
from selftrain_jax.stages.inputs import images_digest
from selftrain_jax.tasks.classification import data as class_data
from selftrain_jax.tasks.config_values import require_dir
from selftrain_jax.tasks.contrastive.data import build_augment, view_batches
from selftrain_jax.tasks.contrastive.inference import make_view_measure
from selftrain_jax.tasks.contrastive.run_files import ViewDetails
from selftrain_jax.tasks.lookup import get_task
from selftrain_jax.types import SIZE_STEP_PX, Category, Task

KNN = "knn_top1"


def check_simclr(config: ConfigDict) -> None:
    """Refuse settings that SimCLR has no use for, or cannot work with.

    Raises:
        InputError: the key, its value, and what to set.
    """
    settings = config.pretrain
    if settings.batch_size < 2:
        raise InputError(
            f"config.pretrain.batch_size={settings.batch_size}: SimCLR compares images with one another; "
            "expected at least 2, and better hundreds"
        )
    if config.image.size_px < SIZE_STEP_PX:
        raise InputError(
            f"config.image.size_px={config.image.size_px} is too small for SimCLR's windows: the backbone "
            f"halves them five times; use {SIZE_STEP_PX} or more"
        )
    for key, is_wrong, way_out in (
        (
            "optimizer.accumulation",
            config.optimizer.accumulation > 1,
            "1: a slice has fewer images to compare",
        ),
        ("optimizer.freeze_backbone", config.optimizer.freeze_backbone, "False: only the backbone is kept"),
        ("joint.weight", config.joint.weight != 0, "0: joint training is for detectors"),
        ("mesh.space", config.mesh.space > 1, "1: images are split over devices by number, not by rows"),
        ("pretrain.augment", settings.augment != "none", "none: SimCLR has an augmentation of its own"),
    ):
        if is_wrong:
            value = config[key.split(".")[0]][key.split(".")[1]]
            raise InputError(f"config.{key}={value} with config.pretrain.objective=simclr; use {way_out}")
    _check_values(config)


def _check_values(config: ConfigDict) -> None:
    try:
        check_temperature(config.pretrain.simclr.temperature)
        build_augment(config)
    except InputError as error:
        raise InputError(f"config.pretrain: {error}") from None


def open_images(config: ConfigDict) -> tuple[Source, Source]:
    """Open config.data's splits train and val. Classes stay where both are class folders of the same classes.

    Raises:
        InputError: a data set is missing or malformed.
    """
    train, val = (_open_split(config, split) for split in (config.data.train, config.data.val))
    if train.categories == val.categories:
        return train, val
    hosts.log("pretrain: train and val have other classes; val is measured without them")
    return without_labels(train), without_labels(val)


def _open_split(config: ConfigDict, split: str) -> Source:
    where = config.data
    kind = ("folder" if where.dir else "tfds") if where.kind == "auto" else where.kind
    if kind == "folder":
        root = require_dir(where.dir, "config.data.dir", "the images, with sub-folders train and val")
        return _open_folder(pathlib.Path(root) / split)
    if kind in class_data.KINDS:
        return class_data.open_split(config, "data", split)
    return without_labels(get_task(config.task).open_split(config, "data", split))


def _open_folder(folder: pathlib.Path) -> Source:
    """Read a folder by its classes where every image is in a class's folder, else without classes."""
    images = read_image_folder(folder)
    if not all("/" in image_id for image_id in images.image_ids):
        return images
    try:
        return read_class_folder(folder)
    except InputError:  # an empty class: the images are all there
        return images


def build_simclr_model(config: ConfigDict) -> ProjectedBackbone:
    """Return config.model's backbone with the projection head of config.pretrain.simclr.

    Raises:
        InputError: there is no such backbone, or its settings or the head's do not fit.
    """
    try:
        settings = NetworkSettings(**config.model)
        return make_projected_backbone(settings, config.pretrain.simclr.projection_dim)
    except InputError as error:
        raise InputError(f"config.model: {error}") from None


def build_simclr_task(config: ConfigDict, categories: tuple[Category, ...]) -> Task:
    """Return SimCLR's task on config.model's backbone; it uses no classes.

    Raises:
        InputError: as `build_simclr_model`, or the temperature is not above 0.
    """
    return make_contrastive_task(
        model=build_simclr_model(config),
        image_size_px=config.image.size_px,
        temperature=config.pretrain.simclr.temperature,
    )


def _describe(evaluation: Evaluation) -> str:
    scores = evaluation.scores
    found = f"contrastive top-1 {100 * scores[TOP1]:.1f} %"
    return f"k-NN top-1 {100 * scores[KNN]:.1f} %, {found}" if KNN in scores else found


SIMCLR = Objective(
    check_config=check_simclr,
    open_sources=open_images,
    digest=images_digest,
    build_task=build_simclr_task,
    build_batches=view_batches,
    make_measure=make_view_measure,
    details=ViewDetails,
    curve=(KNN, TOP1, "contrastive_loss"),
    headline=lambda train: KNN if train.categories else TOP1,
    shown=(f"train/{TOP1}",),
    describe=_describe,
    idle_keys=("pretrain.label_smoothing", "pretrain.augment"),
)
