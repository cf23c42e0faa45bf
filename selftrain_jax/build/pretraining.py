"""Pre-training a backbone as a classifier (config.pretrain): data, task, schedule, batches.

Start at `build_class_sources`, then `build_pretraining`.
"""

from collections.abc import Callable

from ml_collections import ConfigDict

from selftrain_jax.build.experiment import Experiment, compose
from selftrain_jax.data.sampling import Permutation, raw_permutation
from selftrain_jax.data.source import Source
from selftrain_jax.data.sources.image_folder import check_same_classes
from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.loss_norm import plain_loss
from selftrain_jax.tasks.classification.data import class_batches
from selftrain_jax.tasks.lookup import get_task
from selftrain_jax.train.optimizer import Schedule, warmup_cosine
from selftrain_jax.types import Batch, Batches, Category

TASK, SEED = "classification", 3


def build_class_sources(config: ConfigDict) -> tuple[Source, Source]:
    """Open config.data's splits train and val, of the same classes; no image is decoded.

    Raises:
        InputError: a data set is missing or malformed, the splits' classes differ, or keys of config.data are
            set that pre-training does not read.
    """
    task, data = get_task(TASK), config.data
    for key in ("split", "group_by", "gold", "drop_leaks"):
        if data[key]:
            raise InputError(
                f"config.data.{key} is for self-training; --job=pretrain reads its splits as they are"
            )
    train, val = (task.open_split(config, "data", split) for split in (data.train, data.val))
    check_same_classes(train, val)
    return train, val


def build_pretraining(
    config: ConfigDict, categories: tuple[Category, ...], *, ema_ramp: bool = True
) -> Experiment:
    """Compose the classification task, the optimizer and the devices; nothing is computed yet.

    `ema_ramp` is as in `build_experiment`.

    Raises:
        InputError: a value that does not exist or does not fit.
    """
    task = get_task(TASK).build_task(config, categories)
    return compose(config, task, plain_loss(0.0), ["pretrain", "eval"], ema_ramp=ema_ramp)


def build_pretrain_schedule(config: ConfigDict) -> Schedule:
    """Return the learning rate by step: warm-up, then half a cosine.

    Raises:
        InputError: another schedule is asked for, or the warm-up does not fit into the steps.
    """
    settings, optimizer = config.pretrain, config.optimizer
    if optimizer.schedule != "cosine":
        raise InputError(f"config.optimizer.schedule={optimizer.schedule!r}: pre-training has cosine only")
    peak = settings.learning_rate
    return warmup_cosine(peak, peak * optimizer.warmup_start_frac, optimizer.warmup_steps, settings.steps)


def build_pretrain_batches(
    config: ConfigDict,
    train: Source,
    *,
    permutation: Permutation = raw_permutation,
    place: Callable[[Batch], Batch] = lambda batch: batch,
) -> Batches:
    """Return the stream of training batches of crops; `permutation`, `place` are as in `build_batches`."""
    return class_batches(
        config,
        config.pretrain,
        train,
        size_px=config.image.size_px,
        seed=1000 * config.seed + SEED,
        permutation=permutation,
        place=place,
    )
