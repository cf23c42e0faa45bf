"""Classification as a `TaskSpec`: the class of a whole image. It pre-trains backbones."""

from typing import TYPE_CHECKING

from ml_collections import ConfigDict

from selftrain_jax.classification.task import make_classification_task
from selftrain_jax.errors import InputError
from selftrain_jax.models.classifier import Classifier, make_classifier
from selftrain_jax.models.settings import NetworkSettings, make_backbone
from selftrain_jax.tasks.classification.data import KINDS, open_split
from selftrain_jax.tasks.classification.run_files import ClassDetails
from selftrain_jax.tasks.spec import Metric, TaskSpec, accept, keep_config
from selftrain_jax.types import Category, Task

if TYPE_CHECKING:
    from selftrain_jax.data.pipeline import TargetSpec


def build_classifier(config: ConfigDict, num_classes: int) -> Classifier:
    """Return the classifier on the same backbone as config.model's detector.

    Raises:
        InputError: the backbone does not exist, or its settings do not fit it.
    """
    settings = NetworkSettings(**config.model)
    try:
        classifier = make_classifier(settings.backbone, num_classes, dtype=settings.dtype)
        backbone = make_backbone(settings)
    except InputError as error:
        raise InputError(f"config.model: {error}") from None
    return classifier.clone(backbone=backbone)


def build_task(config: ConfigDict, categories: tuple[Category, ...]) -> Task:
    """Return the classifier's init, loss and predict; its settings are config.pretrain's.

    Raises:
        InputError: config.model names a network that does not exist, or values do not go together.
    """
    return make_classification_task(
        model=build_classifier(config, len(categories)),
        image_size_px=config.image.size_px,
        label_smoothing=config.pretrain.label_smoothing,
    )


def _targets(config: ConfigDict, has_pseudo: bool) -> "TargetSpec":
    from selftrain_jax.tasks.classification.targets import CLASS_TARGETS

    return CLASS_TARGETS


CLASSIFICATION = TaskSpec(
    name="classification",
    metrics=(Metric("top1", "top-1 accuracy", "top-1"), Metric("top5", "top-5 accuracy", "top-5")),
    evaluation_details=ClassDetails,
    data_kinds=KINDS,
    check_config=accept,
    complete_config=keep_config,
    open_split=open_split,
    check_sources=accept,
    build_task=build_task,
    targets=_targets,
    idle_keys=(
        *("loss", "segmentation", "postprocess", "pseudo", "model.anchor_size"),
        *("image.tile_px", "image.tile_overlap_frac", "image.tile_min_visible"),
    ),
    self_training=None,
)
