"""The labels of all splits of a data set, whatever their format: what every layout's reader returns."""

import pathlib
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from selftrain_jax.data.formats.shapes import ImageLabels
from selftrain_jax.data.image_files import read_image_size
from selftrain_jax.data.layouts.tree import FindImage, canonical
from selftrain_jax.data.source import MAX_IMAGE_PIXELS, Problem
from selftrain_jax.errors import InputError
from selftrain_jax.types import MAX_CLASS_ID, Category


class SplitLabels(NamedTuple):
    """The images of a split with their files and (height, width)."""

    images: list[ImageLabels]
    paths: list[pathlib.Path]
    sizes_px: list[tuple[int, int]]
    problems: list[Problem]


class LabelSet(NamedTuple):
    """All splits by the names that they have on the disk; "" is a data set without splits."""

    format: str  # as "YOLO (data.yaml)"
    root: pathlib.Path
    splits: Mapping[str, SplitLabels]
    categories: tuple[Category, ...]  # of boxes: from 1
    class_note: str  # where the ids are from
    decisions: tuple[str, ...]  # what else the reader decided, in words
    has_outlines: bool = True  # whether outlines were asked for
    # Of COCO's formats: each split's annotation file, and the folder that its images' names are below.
    coco_files: Mapping[str, tuple[pathlib.Path, pathlib.Path]] = MappingProxyType({})


def locate_images(images: Sequence[ImageLabels], find: FindImage, where: str) -> SplitLabels:
    """Find the files of images; those whose file is missing or unreadable are problems and left out."""
    split = SplitLabels([], [], [], [])
    for labels in images:
        path = find(labels.name, where)
        if isinstance(path, Problem):
            split.problems.append(path)
            continue
        try:
            size = labels.size_px or read_image_size(path)
        except InputError as error:
            split.problems.append(Problem("malformed", str(path), str(error)))
            continue
        if size[0] * size[1] > MAX_IMAGE_PIXELS:
            message = f"{size[1]} x {size[0]} pixels are stated; expected at most {MAX_IMAGE_PIXELS}"
            split.problems.append(Problem("malformed", where, f"{message}. Scale or tile the image."))
            continue
        split.images.append(labels)
        split.paths.append(path)
        split.sizes_px.append(size)
    return split


def name_images(split: SplitLabels, root: pathlib.Path) -> SplitLabels:
    """Give images their path below the root as id; a file that is labelled twice is a problem."""
    taken: dict[str, int] = {}
    images = []
    for labels, path in zip(split.images, split.paths, strict=True):
        image_id = path.relative_to(root).as_posix()
        if image_id in taken:
            where = labels.spot.partition("{}")[0].rstrip(", :[")
            split.problems.append(Problem("duplicate_id", where, f"image {image_id} is labelled twice"))
            image_id = f"{image_id}#{taken[image_id]}"
        taken[image_id] = taken.get(image_id, 1) + 1
        images.append(labels._replace(image_id=image_id))
    return split._replace(images=images)


def sorted_names(splits: Mapping[str, SplitLabels]) -> list[str]:
    """Return the names of all classes that occur, sorted."""
    return sorted(
        {shape.name for split in splits.values() for image in split.images for shape in image.shapes}
    )


def number_classes(names: Sequence[str], where: str) -> tuple[Category, ...]:
    """Number classes from 1: 0 is the background.

    Raises:
        InputError: there is none, or there are too many.
    """
    if not 1 <= len(names) <= MAX_CLASS_ID:
        raise InputError(
            f"{where}: {len(names)} classes were found; expected 1 to {MAX_CLASS_ID}. Check that the labels "
            "belong to these images."
        )
    return tuple(Category(number, name) for number, name in enumerate(names, 1))


def ordered(names: Sequence[str]) -> list[str]:
    """Put the splits' names in order: train, val, test, then others."""
    order = {"train": 0, "val": 1, "test": 2}
    return sorted(names, key=lambda name: (order.get(canonical(name), 3), name))


def in_words(left_out: Counter[str]) -> tuple[str, ...]:
    """Say what was left out, with its number."""
    return tuple(f"{count:,} {what}" for what, count in left_out.most_common() if count)
