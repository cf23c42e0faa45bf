"""The optimizer of config.optimizer: `build_optimizer`; and `check_frozen`, what a frozen backbone needs."""

import optax
from ml_collections import ConfigDict

from selftrain_jax.errors import InputError
from selftrain_jax.pretrain.init_modes import InitReport
from selftrain_jax.train.lars import lars
from selftrain_jax.train.optimizer import adamw, momentum_sgd, skip_backbone


def build_optimizer(settings: ConfigDict) -> optax.GradientTransformation:
    """Make what turns a gradient into an update, without the learning rate; of a frozen backbone zeros.

    Raises:
        InputError: there is no optimizer of that name, or a value is outside of its range.
    """
    tx = _build_by_name(settings)
    return skip_backbone(tx) if settings.freeze_backbone else tx


def _build_by_name(settings: ConfigDict) -> optax.GradientTransformation:
    shared = {key: settings[key] for key in ("weight_decay", "clip_norm", "decay_bn")}
    if not settings.freeze_backbone:
        shared |= {"backbone_factor": settings.backbone_rate_factor, "layer_decay": settings.layer_decay}
    if settings.name == "momentum":
        return momentum_sgd(momentum=settings.momentum, **shared)
    if settings.name == "adamw":
        return adamw(b1=settings.b1, b2=settings.b2, epsilon=settings.epsilon, **shared)
    if settings.name == "lars":
        return lars(momentum=settings.momentum, trust_coefficient=settings.trust_coefficient, **shared)
    raise InputError(f"config.optimizer.name={settings.name!r} is not one of momentum, adamw, lars")


def check_frozen(config: ConfigDict, stage: str, report: InitReport) -> None:
    """See that a frozen backbone has trained weights.

    Raises:
        InputError: it starts at random.
    """
    if config.optimizer.freeze_backbone and "backbone" in report.random:
        raise InputError(
            f"config.optimizer.freeze_backbone=True keeps the backbone that the {stage} starts with, which "
            f"is random. Start from trained weights, as --config.{stage}.init=imagenet, or use "
            "--config.optimizer.freeze_backbone=False"
        )
