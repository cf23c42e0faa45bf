"""Images with boxes, as config.data and config.unlabeled name them; call `open_split`."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from selftrain_jax.data.image_files import fill_template, is_file
from selftrain_jax.data.layouts.label_set import LabelSet
from selftrain_jax.data.layouts.recognise import VocLists, list_classes
from selftrain_jax.data.layouts.sources import box_problems, box_source, select_classes
from selftrain_jax.data.source import Problem, Source
from selftrain_jax.data.sources.coco import read_coco_categories, read_coco_json
from selftrain_jax.data.sources.voc_boxes import find_problems as find_voc_problems
from selftrain_jax.data.sources.voc_boxes import read_voc
from selftrain_jax.demo.builtin import read_builtin
from selftrain_jax.doctor.verdicts import refuse
from selftrain_jax.errors import InputError
from selftrain_jax.html.blocks import Finding
from selftrain_jax.tasks.auto_kind import notes_of, read_folder
from selftrain_jax.tasks.config_values import class_names, require_dir
from selftrain_jax.tasks.tiles import cut_tiles
from selftrain_jax.types import Category

KINDS = ("builtin", "coco", "voc", "tfds", "auto")


def open_split(config: ConfigDict, group: str, split: str) -> Source:
    """Open a split of a data set with boxes; `group` of the config is data or unlabeled.

    Raises:
        InputError: it is missing or malformed.
    """
    where = config[group]
    kind = where.kind
    if kind == "auto" and where.dir:
        return _open_auto(config, group, split)
    if kind == "auto":
        kind = "tfds"
    if kind == "builtin":
        num_images, size_px = config.data.builtin[split], config.image.size_px
        return read_builtin(split, num_images=num_images, seed=config.seed, image_size_px=size_px)
    if kind == "coco":
        return _open_coco(config, group, split)
    if kind == "voc":
        root = require_dir(where.dir, f"config.{group}.dir", "the VOC data set")
        return read_voc(root, split, class_names(config) or None, bad_boxes=config.data.bad_boxes)
    if kind == "tfds":
        from selftrain_jax.data.sources.tfds import read_tfds

        split = {"val": "validation"}.get(split, split)  # as TFDS calls it
        return read_tfds(where.tfds, split, data_dir=where.dir or None, bad_boxes=config.data.bad_boxes)
    raise InputError(f"config.{group}.kind={kind!r} of a data set is not one of {', '.join(KINDS)}")


def _open_auto(config: ConfigDict, group: str, split: str) -> Source:
    found = read_folder(config, group, split, outlines=False)
    labels, bad_boxes = found.labels, config.data.bad_boxes
    wanted = class_names(config) if group == "data" else ()
    if isinstance(labels, LabelSet):
        notes = notes_of(config, group, found, select_classes(labels, wanted), outlines=False)
        return box_source(labels, found.split, wanted, notes, bad_boxes)
    classes = class_names(config) or None
    source = read_voc(
        labels.root, found.split, classes, bad_boxes=bad_boxes, is_one_based=labels.is_one_based
    )
    return dataclasses.replace(source, notes=voc_notes(labels, found.chosen, source))


def voc_notes(labels: VocLists, chosen: Mapping[str, str], source: Source) -> tuple[str, ...]:
    """Say what was recognised of a VOC folder."""
    splits = ", ".join(name if asked == name else f"{name} (as {asked})" for asked, name in chosen.items())
    tool = "CVAT's Pascal VOC" if not labels.is_one_based else "Pascal VOC"
    counted = "from 1, both corners inside" if labels.is_one_based else "from 0, the lower corner outside"
    return (
        f"data: {tool} in {labels.root}: {splits}",
        f"classes: {list_classes(source.categories)} (in the order of their names, from 1); pixels count "
        f"{counted}",
    )


def auto_problems(config: ConfigDict, split: str) -> Iterator[Problem]:
    """Yield the faults of a split of a folder whose format is recognised."""
    try:
        found = read_folder(config, "data", split, outlines=False)
        if isinstance(found.labels, LabelSet):
            yield from box_problems(found.labels, found.split, class_names(config))
            return
    except InputError as error:
        yield Problem("malformed", config.data.dir, str(error))
        return
    labels = found.labels
    yield from find_voc_problems(
        labels.root, found.split, class_names(config) or None, is_one_based=labels.is_one_based
    )


def auto_coco_files(config: ConfigDict) -> dict[str, tuple[Path, Path]]:
    """Return annotation file and image folder of each split of a folder in one of COCO's formats."""
    try:
        labels = read_folder(config, "data", config.data.train, outlines=False).labels
    except InputError:  # as `auto_problems` says
        return {}
    return dict(labels.coco_files) if isinstance(labels, LabelSet) else {}


def _open_coco(config: ConfigDict, group: str, split: str) -> Source:
    where = config[group]
    root = require_dir(where.dir, f"config.{group}.dir", "COCO's files")
    annotations = root / fill_template(where.annotations, split, f"config.{group}.annotations")
    images = root / fill_template(where.images, split, f"config.{group}.images")
    categories = coco_categories(config) if group == "data" else None
    return read_coco_json(annotations, images, categories=categories, bad_boxes=config.data.bad_boxes)


def coco_categories(config: ConfigDict) -> tuple[Category, ...] | None:
    """Return the classes in config.data.classes with the ids of the training split's file; None for all.

    Raises:
        InputError: the file is missing or malformed, or has no class of such a name.
    """
    names, data = class_names(config), config.data
    if not names:
        return None
    template = fill_template(data.annotations, data.train, "config.data.annotations")
    path = require_dir(data.dir, "config.data.dir", "COCO's files") / template
    changed = path.stat().st_mtime_ns if is_file(path) else 0
    try:
        return _read_categories(path, changed, names)
    except InputError as error:
        raise InputError(f"config.data.classes: {error}") from None


@functools.lru_cache(maxsize=4)
def _read_categories(path: Path, changed: int, names: tuple[str, ...]) -> tuple[Category, ...]:
    """Read a file once for all splits, unless it has changed."""
    return read_coco_categories(path, names)


def check_sources(config: ConfigDict, human: Source, measured: Sequence[Source]) -> None:
    """Make sure that the boxes of each training image fit into config.image.max_boxes.

    TFDS has its labels beside the images, on the disk; there a batch refuses the image when it comes.

    Raises:
        InputError: an image has more boxes.
    """
    is_tfds = config.data.kind == "tfds" or (config.data.kind == "auto" and not config.data.dir)
    if not is_tfds:
        refuse(judge_slots(config, human))


def judge_slots(config: ConfigDict, human: Source) -> Iterator[Finding]:
    """Say which training image, or tile, has more boxes than config.image.max_boxes; crowds take no slot."""
    max_boxes, seen = config.image.max_boxes, cut_tiles(config, human)
    counts = [_count_boxes(seen, index) for index in range(len(seen))]
    num_crowded = sum(count > max_boxes for count in counts)
    if num_crowded:
        most = max(counts)
        unit, remedy = ("tile", "cut smaller tiles") if seen is not human else ("image", "cut tiles")
        yield Finding(
            "error",
            f"{human.name}: {num_crowded:,} of {len(seen):,} {unit}s have more boxes than "
            f"config.image.max_boxes={max_boxes}; {unit} {seen.image_ids[counts.index(most)]} has {most}",
            f"Set --config.image.max_boxes={most}, or {remedy} (config.image.tile_px).",
        )


def _count_boxes(source: Source, index: int) -> int:
    try:
        labels = source.read_labels(index)
    except InputError:  # counted among the images that cannot be read
        return 0
    return int((~labels.get("is_crowd", np.zeros(len(labels["boxes"]), bool))).sum())


def class_counts(source: Source) -> dict[str, int]:
    """Count a labelled source's boxes by class name."""
    counts = dict.fromkeys((category.name for category in source.categories), 0)
    names = dict(source.categories)
    for index in range(len(source)):
        for class_id in source.read_labels(index)["classes"]:
            counts[names[int(class_id)]] += 1
    return counts
