"""The part of the config that is about data: sources, augmentation, batches; start at `build_sources`."""

import functools
import pathlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from selftrain_jax.data.image_files import fill_template
from selftrain_jax.data.source import Source, cached, label_fraction, subset, without_labels
from selftrain_jax.data.sources.coco import read_coco_json
from selftrain_jax.data.sources.image_folder import read_image_folder
from selftrain_jax.data.sources.voc_boxes import read_voc
from selftrain_jax.data.sources.voc_masks import refuse_tfds_masks
from selftrain_jax.demo.builtin import read_builtin
from selftrain_jax.errors import InputError
from selftrain_jax.tasks.segmentation.pixels import check_masks, require_labelled_pixels
from selftrain_jax.types import Category

TASKS = ("detection", "segmentation")
MASK_KINDS = ("builtin", "voc", "folder")
STAGE_SEEDS = {"teacher": 0, "control": 1, "student": 2}


@dataclass(frozen=True)
class Sources:
    """Who reads what.

    `unlabeled` is None in a supervised run. `unlabeled_truth` has the labels that the teacher is not
    shown, if there are any.
    """

    human: Source
    unlabeled: Source | None
    unlabeled_truth: Source | None
    val: Source
    test: Source


def build_sources(config: ConfigDict) -> Sources:
    """Open the data sets of a run; no image is decoded, but every mask of val and test is read.

    Raises:
      InputError: a data set is missing or malformed, splits disagree about classes, or a mask that
        evaluation needs is bad.
    """
    check_data_sets(config)
    data = config.data
    train = open_split(config, data.train)
    human = labelled_part(config, train)
    if config.task == "segmentation":
        require_labelled_pixels(human)
    unlabeled, truth = None, None
    if config.unlabeled.kind != "none":
        found = open_unlabeled(config, train)
        unlabeled, truth = without_labels(found), found if found.categories == train.categories else None
    val, test = open_split(config, data.val), open_split(config, data.test)
    for other in (val, test):
        if other.categories != train.categories:
            raise InputError(
                f"{other.name} has the classes {_names(other.categories)}, but {train.name} has "
                f"{_names(train.categories)}; set config.data.classes or mend the annotations"
            )
    # Built-in masks are drawn: none can be bad, and reading them all would draw them all.
    if config.task == "segmentation" and data.kind != "builtin":
        for source in {data.val: val, data.test: test}.values():
            check_masks(source)
    return Sources(human, unlabeled, truth, val, test)


def check_task(config: ConfigDict) -> None:
    """Refuse a task that does not exist, and of masks joint training, TFDS and auto. Raises: InputError."""
    if config.task not in TASKS:
        raise InputError(f"config.task={config.task!r} is not one of {', '.join(TASKS)}")
    if config.task == "segmentation" and config.data.kind == "tfds":
        refuse_tfds_masks(config.data.tfds)
    if config.task == "segmentation" and config.data.kind == "auto":
        raise InputError(
            f"config.data.kind=auto is for boxes; for masks choose one of {', '.join(MASK_KINDS)}"
        )
    if config.task == "segmentation" and config.joint.weight:
        raise InputError(
            f"config.joint.weight={config.joint.weight:g}: joint training is of detectors (Table 7); use 0"
        )


def check_data_sets(config: ConfigDict) -> None:
    """Refuse at once all TFDS data sets of a run, joint training's too, that are not on disk.

    Raises:
      InputError: some are missing; with their sizes and the commands that prepare them; or the task is none.
    """
    check_task(config)
    wanted: dict[tuple[str, str], str] = {}
    for group in ("data", "unlabeled", *(["joint"] if config.joint.weight else [])):
        where = config[group]
        if where.kind == "tfds" or (where.kind == "auto" and not where.dir):
            kind = "" if where.kind == "tfds" else f"--config.{group}.kind=tfds "
            wanted.setdefault((where.tfds, where.dir), f"{kind}--config.{group}.dir")
    if wanted:
        from selftrain_jax.data.sources.tfds import check_prepared

        check_prepared(wanted)


def open_split(config: ConfigDict, split: str) -> Source:
    """Open a labelled split of config.data. Raises: InputError when it is missing or malformed."""
    data = config.data
    if config.task == "segmentation":
        from selftrain_jax.tasks.segmentation.data import open_masks

        return open_masks(config, "data", split)
    if data.kind == "builtin":
        num_images, size_px = data.builtin[split], config.image.size_px
        return read_builtin(split, num_images=num_images, seed=config.seed, image_size_px=size_px)
    return _open(config, "data", split)


def _open(config: ConfigDict, group: str, split: str) -> Source:
    """Open a split of a data set on disk; `group` of the config is data or unlabeled."""
    where, bad_boxes = config[group], config.data.bad_boxes
    kind = where.kind
    if kind == "auto":
        kind = "voc" if where.dir else "tfds"
    if kind == "coco":
        root = require_dir(where.dir, f"config.{group}.dir", "COCO's files")
        annotations = root / fill_template(where.annotations, split, f"config.{group}.annotations")
        images = root / fill_template(where.images, split, f"config.{group}.images")
        return read_coco_json(annotations, images, bad_boxes=bad_boxes)
    if kind == "voc":
        root = require_dir(where.dir, f"config.{group}.dir", "the VOC data set")
        names = tuple(filter(None, config.data.classes.split(","))) or None
        return read_voc(root, split, names, bad_boxes=bad_boxes)
    if kind == "tfds":
        from selftrain_jax.data.sources.tfds import read_tfds

        split = {"val": "validation"}.get(split, split)  # as TFDS calls it
        return read_tfds(where.tfds, split, data_dir=where.dir or None, bad_boxes=bad_boxes)
    raise InputError(f"kind={kind!r} of a data set is not one of builtin, coco, voc, tfds, auto")


def open_unlabeled(config: ConfigDict, train: Source) -> Source:
    """Open the unlabelled images, with their labels where the data set has them.

    Raises:
      InputError: there are none.
    """
    source, limit = _open_unlabeled(config, train), config.unlabeled.limit
    return subset(source, range(min(limit, len(source)))) if limit else source


def _open_unlabeled(config: ConfigDict, train: Source) -> Source:
    where = config.unlabeled
    if where.kind == "remainder":
        _, remainder = _split_by_label(config, train)
        if not len(remainder):
            raise InputError(
                "config.unlabeled.kind=remainder, but config.data.label_percent=100 leaves no image of "
                "train without its label; lower label_percent or name another source"
            )
        return subset(train, remainder, f"{train.name}, the remainder")
    if where.kind == "folder":
        return read_image_folder(require_dir(where.dir, "config.unlabeled.dir", "the unlabelled images"))
    if config.task == "segmentation" and where.kind in ("builtin", "voc"):
        from selftrain_jax.tasks.segmentation.data import open_masks

        return open_masks(config, "unlabeled", "unlabeled" if where.kind == "builtin" else where.split)
    if where.kind == "builtin":
        num_images, size_px = config.data.builtin.unlabeled, config.image.size_px
        return read_builtin("unlabeled", num_images=num_images, seed=config.seed, image_size_px=size_px)
    if where.kind == "tfds":
        from selftrain_jax.data.sources.tfds import read_tfds

        return read_tfds(where.tfds, where.split, data_dir=where.dir or None, labelled=False)
    return _open(config, "unlabeled", where.split)


def require_dir(text: str, key: str, what: str) -> pathlib.Path:
    """Return the folder that a key names. Raises: InputError for no name: as a path it would be "."."""
    if not text.strip():
        raise InputError(f"{key} is empty; name the folder of {what}, as --{key}=FOLDER")
    return pathlib.Path(text)


def labelled_part(config: ConfigDict, train: Source) -> Source:
    """Return the images of train that keep their labels, config.data.label_percent of them."""
    labelled, _ = _split_by_label(config, train)
    return subset(train, labelled, f"{train.name}, {config.data.label_percent:g} % labelled")


def _split_by_label(config: ConfigDict, train: Source) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of train's images that keep their labels, and of the others."""
    data = config.data
    return label_fraction(len(train), data.label_percent, seed=config.seed, fold=data.label_fold)


def _names(categories: tuple[Category, ...]) -> str:
    names = [category.name for category in categories]
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")


def stage_settings(config: ConfigDict, stage: str) -> ConfigDict:
    """Return `config.teacher` or, for student and control, `config.student`."""
    return config.teacher if stage == "teacher" else config.student


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
        reference_size_px=augment.reference_size_px or None,
        flip_frac=augment.flip_frac,
    )


def build_batches(config: ConfigDict, stage: str, human: Source, pseudo: Source | None) -> Callable:
    """Return the stage's stream of batches: all human, or half human and half pseudo."""
    from selftrain_jax.data.pipeline import make_batches
    from selftrain_jax.selftrain.mixing import mix_batches

    batch_size = stage_settings(config, stage).batch_size
    if pseudo is not None and batch_size % 2:
        raise InputError(
            f"config.student.batch_size={batch_size} cannot be half human and half pseudo; use an even number"
        )
    make = functools.partial(
        make_batches,
        target_spec=_find_targets(config),
        augment=build_augment(config, stage_settings(config, stage).policy),
        max_bad_images=config.data.max_bad_images,
        max_stall_secs=float(config.data.max_stall_secs),
    )
    human = cached(human, float(config.data.cache_mib))
    seed = 1000 * config.seed + STAGE_SEEDS[stage]
    if pseudo is None:
        return make(human, batch_size=batch_size, seed=seed)
    human_half = make(human, batch_size=batch_size // 2, seed=seed)
    pseudo = cached(pseudo, float(config.data.cache_mib))
    pseudo_half = make(pseudo, batch_size=batch_size // 2, seed=seed + 500, is_pseudo=True)
    return mix_batches(human_half, pseudo_half)


def _find_targets(config: ConfigDict) -> Any:
    """Return the `TargetSpec` of config.task."""
    if config.task == "segmentation":
        from selftrain_jax.tasks.segmentation.targets import MASK_TARGETS

        return MASK_TARGETS
    from selftrain_jax.tasks.detection.targets import box_targets

    return box_targets(config.image.max_boxes)
