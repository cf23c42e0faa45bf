"""Joint training's second stream (config.joint): classified images for the detector's backbone (Table 7).

Start at `open_joint_source`, then `build_joint_task` and `build_joint_batches`.
"""

from collections.abc import Callable

from ml_collections import ConfigDict

from selftrain_jax.build.batch_norm import with_statistics
from selftrain_jax.build.data import stage_seed
from selftrain_jax.build.set_apart import without_gold
from selftrain_jax.classification.joint import attach, make_joint_task
from selftrain_jax.classification.task import make_classification_task
from selftrain_jax.data.sampling import Permutation, raw_permutation
from selftrain_jax.data.source import Source
from selftrain_jax.stages.choices import has_joint_training
from selftrain_jax.tasks.classification.data import class_batches, open_split
from selftrain_jax.tasks.classification.spec import build_classifier
from selftrain_jax.types import Batch, Batches, Task

SEED = 700


def open_joint_source(config: ConfigDict) -> Source:
    """Open the second stream's images.

    Raises:
        InputError: they are missing or malformed.
    """
    return without_gold(config, open_split(config, "joint", config.joint.split))


def build_joint_task(
    config: ConfigDict, detection: Task, num_classes: int, statistics: str = "batch"
) -> Task:
    """Add the classification loss of config.joint, on the detector's backbone, to a detection task.

    `statistics` are where its BatchNorm's come from, as in `with_statistics`.

    Raises:
        InputError: a value that does not exist or does not fit.
    """
    classification = make_classification_task(
        model=build_classifier(config, num_classes),
        image_size_px=config.joint.size_px,
        label_smoothing=config.joint.label_smoothing,
    )
    classification = with_statistics(classification, statistics)
    return make_joint_task(detection, classification, weight=config.joint.weight)


def build_joint_batches(
    config: ConfigDict,
    stage: str,
    batches: Batches,
    source: Source,
    *,
    round: int = 1,
    permutation: Permutation = raw_permutation,
    place: Callable[[Batch], Batch] = lambda batch: batch,
) -> Batches:
    """Attach batches of `source` to a stage's stream of detection batches, if config.joint.stage includes it.

    The control is treated as the student. `permutation` and `place` are as in `build_batches`.

    Raises:
        InputError: there is no such stage.
    """
    if not has_joint_training(config, stage):
        return batches
    seed = SEED + stage_seed(config, stage, round)
    second = class_batches(
        config,
        config.joint,
        source,
        size_px=config.joint.size_px,
        seed=seed,
        permutation=permutation,
        place=place,
    )
    return attach(batches, second)
