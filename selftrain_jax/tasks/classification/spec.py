"""Classification as a `TaskSpec`: the class of a whole image. It pre-trains backbones."""

from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from selftrain_jax.classification.task import make_classification_task
from selftrain_jax.errors import InputError
from selftrain_jax.models.classifier import Classifier, make_classifier
from selftrain_jax.models.detector import make_backbone
from selftrain_jax.models.layers import LayerStyle
from selftrain_jax.tasks.classification.data import KINDS, open_split
from selftrain_jax.tasks.spec import Metric, TaskSpec
from selftrain_jax.types import Category, Task

if TYPE_CHECKING:
    from selftrain_jax.data.pipeline import TargetSpec


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


def _targets(config: ConfigDict) -> "TargetSpec":
    from selftrain_jax.tasks.classification.targets import CLASS_TARGETS

    return CLASS_TARGETS


def _accept(*_: Any) -> None:
    """Check nothing: values that do not fit are found where they are used."""


CLASSIFICATION = TaskSpec(
    name="classification",
    metrics=(Metric("top1", "top-1 accuracy", "top-1"), Metric("top5", "top-5 accuracy", "top-5")),
    data_kinds=KINDS,
    check_config=_accept,
    open_split=open_split,
    check_sources=_accept,
    build_task=build_task,
    targets=_targets,
    self_training=None,
)
