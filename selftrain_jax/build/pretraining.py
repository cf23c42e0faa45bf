"""Pre-training a backbone (config.pretrain): data, task, schedule, batches, by its objective.

Start at `build_pretrain_sources`, then `build_pretraining`.
"""

from collections.abc import Callable

from jax.sharding import Mesh
from ml_collections import ConfigDict

from selftrain_jax.build.contrastive import SIMCLR
from selftrain_jax.build.experiment import Experiment, compose
from selftrain_jax.build.objective import Objective
from selftrain_jax.data.sampling import Permutation, raw_permutation
from selftrain_jax.data.source import Source
from selftrain_jax.data.sources.image_folder import check_same_classes
from selftrain_jax.errors import InputError
from selftrain_jax.run_files.evaluation import Evaluation
from selftrain_jax.selftrain.loss_norm import plain_loss
from selftrain_jax.stages.inputs import labels_digest
from selftrain_jax.tasks.classification.data import class_batches
from selftrain_jax.tasks.classification.inference import Measure, make_measure
from selftrain_jax.tasks.classification.run_files import ClassDetails
from selftrain_jax.tasks.classification.spec import CLASSIFICATION
from selftrain_jax.train.optimizer import Schedule, warmup_cosine
from selftrain_jax.types import Batch, Batches, Category, Task

SEED = 3


def get_objective(config: ConfigDict) -> Objective:
    """Return what config.pretrain.objective names.

    Raises:
        InputError: there is no such objective, or settings do not go together with it.
    """
    name = config.pretrain.objective
    if name not in OBJECTIVES:
        raise InputError(f"config.pretrain.objective={name!r} is not one of {', '.join(OBJECTIVES)}")
    OBJECTIVES[name].check_config(config)
    return OBJECTIVES[name]


def build_pretrain_sources(config: ConfigDict) -> tuple[Source, Source]:
    """Open config.data's splits train and val; no image is decoded.

    Raises:
        InputError: a data set is missing or malformed, the splits' classes differ where they count, or keys
            of config.data are set that pre-training does not read.
    """
    for key in ("split", "group_by", "gold", "drop_leaks"):
        if config.data[key]:
            raise InputError(
                f"config.data.{key} is for self-training; --job=pretrain reads its splits as they are"
            )
    return get_objective(config).open_sources(config)


def build_pretraining(
    config: ConfigDict, categories: tuple[Category, ...], *, ema_ramp: bool = True
) -> Experiment:
    """Compose the objective's task, the optimizer and the devices; nothing is computed yet.

    `ema_ramp` is as in `build_experiment`.

    Raises:
        InputError: a value that does not exist or does not fit.
    """
    task = get_objective(config).build_task(config, categories)
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
    build_batches = get_objective(config).build_batches
    return build_batches(config, train, seed=1000 * config.seed + SEED, permutation=permutation, place=place)


def _open_classes(config: ConfigDict) -> tuple[Source, Source]:
    splits = (config.data.train, config.data.val)
    train, val = (CLASSIFICATION.open_split(config, "data", split) for split in splits)
    check_same_classes(train, val)
    return train, val


def _class_batches(
    config: ConfigDict,
    train: Source,
    *,
    seed: int,
    permutation: Permutation,
    place: Callable[[Batch], Batch],
) -> Batches:
    size_px = config.image.size_px
    return class_batches(
        config, config.pretrain, train, size_px=size_px, seed=seed, permutation=permutation, place=place
    )


def _class_measure(config: ConfigDict, task: Task, mesh: Mesh, train: Source, val: Source) -> Measure:
    return make_measure(config, task, mesh, val)


def _describe_accuracy(evaluation: Evaluation) -> str:
    scores = evaluation.scores
    return f"top-1 {100 * scores['top1']:.1f} %, top-5 {100 * scores['top5']:.1f} %"


OBJECTIVES = {
    "classification": Objective(
        check_config=CLASSIFICATION.check_config,
        open_sources=_open_classes,
        digest=labels_digest,
        build_task=CLASSIFICATION.build_task,
        build_batches=_class_batches,
        make_measure=_class_measure,
        details=ClassDetails,
        curve=("top1", "top5"),
        headline=lambda train: "top1",
        shown=(),
        describe=_describe_accuracy,
        idle_keys=("pretrain.simclr",),
    ),
    "simclr": SIMCLR,
}
