"""The part of the config that is about data: sources, augmentation, batches; start at `build_sources`."""

import functools
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.build.sampling import check_sampling, epoch_of, order_of_sources
from selftrain_jax.build.set_apart import Sources, set_apart
from selftrain_jax.build.splits import Parts, check_split_keys, labelled_part, open_parts
from selftrain_jax.build.student_batch import split_batch
from selftrain_jax.build.unlabeled import open_all_unlabeled, require_truth, source_groups
from selftrain_jax.data.sampling import Permutation, raw_permutation
from selftrain_jax.data.source import Source, cached, concatenated
from selftrain_jax.doctor.verdicts import refuse
from selftrain_jax.errors import InputError
from selftrain_jax.html.blocks import Finding
from selftrain_jax.run_files.arms import ORACLE
from selftrain_jax.selftrain.checks import class_thresholds
from selftrain_jax.selftrain.mixing import positions_of_pseudo
from selftrain_jax.stages.choices import compared_kinds
from selftrain_jax.tasks.config_values import class_thresholds_by_name, own_thresholds
from selftrain_jax.tasks.lookup import get_task
from selftrain_jax.tasks.tiles import cut_tiles
from selftrain_jax.text import shorten_list
from selftrain_jax.types import Batch, Batches
from selftrain_jax.unlabeled_sources import check_further_sources, further_sources

# The half control sees the human images that the student of one round sees, in the same order.
STAGE_SEEDS = {"teacher": 0, "control": 1, "control_half": 2, "oracle": 3, "student": 2}


def build_sources(config: ConfigDict) -> Sources:
    """Open the data sets of a run; no image is decoded, but every mask of val and test is read.

    Raises:
        InputError: a data set is missing or malformed, splits' classes differ, or val or test labels are bad.
    """
    check_data_sets(config)
    task = get_task(config.task)
    parts = open_parts(config, functools.partial(task.open_split, config, "data"))
    sources = read_parts(config, parts)
    task.check_sources(config, sources.human, [*dict.fromkeys((sources.val, sources.test))])
    if ORACLE in compared_kinds(config):
        truth = require_truth(config, sources.unlabeled_truth, sources.unlabeled)
        task.check_sources(config, truth, [])
    return sources


def read_parts(config: ConfigDict, parts: Parts) -> Sources:
    """Return what a run reads of its labelled images and the unlabelled ones.

    Raises:
        InputError: the unlabelled images are missing, splits' classes differ, or as `set_apart`.
    """
    human = labelled_part(config, parts.train)
    unlabeled = open_all_unlabeled(config, parts.train) if config.unlabeled.kind != "none" else {}
    refuse(judge_classes(config, parts.train, [source for source in parts[1:] if source is not None]))
    return set_apart(config, parts, human, unlabeled)


def log_notes(sources: Iterable[Source | None]) -> None:
    """Print on host 0 what the readers recognised and decided, each line once."""
    for line in dict.fromkeys(note for source in sources if source is not None for note in source.notes):
        hosts.log(line)


def judge_classes(config: ConfigDict, train: Source, measured: Sequence[Source]) -> Iterator[Finding]:
    """Say where val or test have other classes than train, and which names the config has wrong.

    The run refuses these errors, the doctor lists them.
    """
    for other in dict.fromkeys(source for source in measured if source.categories != train.categories):
        names, remedy = [name for _, name in train.categories], "Give both one list of classes"
        if config.data.kind in ("coco", "auto") and not any("," in name for name in names):
            remedy += (
                f", or set --config.data.classes={shlex.quote(','.join(names))}: then classes are found by "
                "name, with the ids of train, and others are left out"
            )
        yield Finding("error", _compare_classes(train, other), f"{remedy}.")
    try:
        class_thresholds(train.categories, config.pseudo.threshold, class_thresholds_by_name(config))
    except InputError as error:
        yield Finding("error", f"config.pseudo.threshold, per_class_thresholds: {error}", "")
    yield from _judge_source_classes(config, train)


def _judge_source_classes(config: ConfigDict, train: Source) -> Iterator[Finding]:
    """Say which further source of unlabelled images has thresholds of classes that do not exist."""
    for name in further_sources(config):
        try:
            class_thresholds(train.categories, *own_thresholds(config, name))
        except InputError as error:
            yield Finding("error", f"config.unlabeled.also.{name}: {error}", "")


def _compare_classes(train: Source, other: Source) -> str:
    """List the classes that one of two splits has alone, with their ids."""
    listed = []
    for source, rest in ((other, train), (train, other)):
        only = sorted(set(source.categories) - set(rest.categories))
        shown = shorten_list([f"{class_id} {name!r}" for class_id, name in only], 10)
        listed += [f"only {source.name} has {shown}"] if only else []
    return f"{other.name} and {train.name} have different classes (id and name): {'; '.join(listed)}"


def check_data_sets(config: ConfigDict) -> None:
    """Refuse at once settings that a task does not take, and TFDS data sets that are not on disk.

    Raises:
        InputError: there is no such task; a setting does not fit it; or data sets, joint training's
            included, are missing: with their sizes and the commands that prepare them.
    """
    check_further_sources(config)
    get_task(config.task).check_config(config)
    check_sampling(config)
    check_split_keys(config)
    wanted: dict[tuple[str, str], str] = {}
    for group in ("data", *source_groups(config).values(), *(["joint"] if config.joint.weight else [])):
        where = config[group]
        if where.kind == "tfds" or (where.kind == "auto" and not where.dir):
            kind = "" if where.kind == "tfds" else f"--config.{group}.kind=tfds "
            wanted.setdefault((where.tfds, where.dir), f"{kind}--config.{group}.dir")
    if wanted:
        from selftrain_jax.data.sources.tfds import check_prepared

        check_prepared(wanted)


def stage_settings(config: ConfigDict, stage: str) -> ConfigDict:
    """Return `config.teacher` or, for the student and what is compared with it, `config.student`."""
    return config.teacher if stage == "teacher" else config.student


def stage_batch_size(config: ConfigDict, stage: str) -> int:
    """Return the images a step of a stage: of the half control as many as the student has of humans.

    Raises:
        InputError: the student's batch cannot be split, and the stage asks for a part of it.
    """
    batch_size = stage_settings(config, stage).batch_size
    if stage != "control_half":
        return batch_size
    if batch_size % 2 and config.student.pseudo_frac == 0.5:
        raise InputError(
            f"config.student.batch_size={batch_size} has no half for config.student.control="
            f"{config.student.control}; use an even number"
        )
    return split_batch(config).num_human


def human_images(sources: Sources, stage: str) -> Source:
    """Return what a stage has human labels of: of an oracle all images of the run."""
    if stage != ORACLE:
        return sources.human
    assert sources.unlabeled_truth is not None  # `build_sources` has seen to it
    name = f"{sources.human.name} and {sources.unlabeled_truth.name}"
    return concatenated(sources.human, sources.unlabeled_truth, name)


def stage_seed(config: ConfigDict, stage: str, round: int = 1) -> int:
    """Return the seed of a stage's stream, different for every round."""
    return 1000 * config.seed + STAGE_SEEDS[stage] + 10 * (round - 1)


def build_augment(config: ConfigDict, policy: str = "") -> Callable[..., Any]:
    """Return the augmentation of training images; "" stands for config.augment.policy."""
    from selftrain_jax.augment.policies import augment_policy

    augment = config.augment
    return augment_policy(
        policy or augment.policy,
        output_size_px=config.image.size_px,
        magnitude=augment.magnitude,
        num_layers=augment.num_layers,
        jitter=(augment.jitter_min, augment.jitter_max) if augment.jitter_max else None,
        box_fit=augment.box_fit,
        reference_size_px=augment.reference_size_px or None,
        flip_frac=augment.flip_frac,
    )


def check_augment(config: ConfigDict) -> None:
    """Refuse a policy of any stage that does not exist. Raises: InputError, with the key."""
    keys = ("augment.policy", "teacher.policy", "student.policy", "student.pseudo_policy")
    for group, key in (key.split(".") for key in keys):
        try:
            build_augment(config, config[group][key])
        except InputError as error:
            raise InputError(f"config.{group}.{key}={config[group][key]!r}: {error}") from None


def build_batches(
    config: ConfigDict,
    stage: str,
    human: Source,
    pseudo: Source | None,
    *,
    round: int = 1,
    permutation: Permutation = raw_permutation,
    place: Callable[[Batch], Batch] = lambda batch: batch,
) -> Batches:
    """Return the stage's stream of batches: all human, or mixed as `split_batch` says.

    With config.image.tile_px the images of a batch are tiles.

    Every `round` of students draws and augments its own examples.
    `permutation` is the order of an epoch: `generator_permutation` for a stage that began with it.
    `place` puts a batch on the devices, in the thread that reads ahead.

    Raises:
        InputError: the student's batch cannot be split.
    """
    from selftrain_jax.data.pipeline import batch_examples, make_examples

    policy = stage_settings(config, stage).policy
    make = functools.partial(
        make_examples,
        target_spec=get_task(config.task).targets(config, pseudo is not None),
        augment=build_augment(config, policy),
        max_bad_images=config.data.max_bad_images,
    )
    batch = functools.partial(batch_examples, max_stall_secs=float(config.data.max_stall_secs), place=place)
    human = cut_tiles(config, cached(human, float(config.data.cache_mib)))
    seed = stage_seed(config, stage, round)
    length, order = epoch_of(config, "data", human, permutation)
    make_human = functools.partial(make, human, seed=seed, permutation=order, epoch_length=length)
    if pseudo is None:
        batch_size = stage_batch_size(config, stage)
        return batch([make_human(batch_size=batch_size)], [0] * len(hosts.shard_range(batch_size)))
    split = split_batch(config)
    pseudo = cut_tiles(config, cached(pseudo, float(config.data.cache_mib)))
    index_at = order_of_sources(config, pseudo, seed + 500, permutation)
    # Of several sources each has an epoch of its own.
    length, order = (
        (0, permutation) if index_at is not None else epoch_of(config, "pseudo", pseudo, permutation)
    )
    pseudo_part = make(
        pseudo,
        augment=build_augment(config, config.student.pseudo_policy or policy),
        batch_size=split.num_pseudo,
        seed=seed + 500,
        is_pseudo=True,
        permutation=order,
        epoch_length=length,
        index_at=index_at,
    )
    is_pseudo = positions_of_pseudo(*(len(hosts.shard_range(number)) for number in split))
    return batch([make_human(batch_size=split.num_human), pseudo_part], is_pseudo.astype(int).tolist())
