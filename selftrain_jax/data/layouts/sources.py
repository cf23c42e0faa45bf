"""Sources of boxes and of masks from a `LabelSet`; call `box_source` or `mask_source`."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from pycocotools import mask as mask_api

from selftrain_jax.data.formats.shapes import Outline, Shape, corners
from selftrain_jax.data.image_files import file_source, read_image_size
from selftrain_jax.data.layouts.label_set import LabelSet, SplitLabels
from selftrain_jax.data.problems import BadBoxes, nearest_names, report_problems
from selftrain_jax.data.source import Problem, Source
from selftrain_jax.data.sources.coco_records import compress
from selftrain_jax.data.sources.label_table import Box, LabelTable, make_table, table_example
from selftrain_jax.errors import InputError
from selftrain_jax.text import shorten_list
from selftrain_jax.types import IGNORED, Category, Example

BACKGROUND = ("background", "_background_", "__background__")
IGNORE = ("_ignore_", "__ignore__", "ignore")


class MaskClasses(NamedTuple):
    """The classes of masks from 0, and the value that each class of the labels is painted with."""

    categories: tuple[Category, ...]
    values: Mapping[str, int]


def box_source(
    labels: LabelSet, split: str, wanted: Sequence[str], notes: tuple[str, ...], bad_boxes: BadBoxes
) -> Source:
    """Return a split's boxes, clipped to their images; `wanted` are the classes to keep, all if empty.

    Raises:
        InputError: anything that `box_problems` finds, but for what `bad_boxes` drops.
    """
    categories = select_classes(labels, wanted)
    table, bad = _make_table(labels.splits[split], categories)
    name = _name(labels, split)
    report_problems([*labels.splits[split].problems, *bad], name, bad_boxes)
    return _source(labels, split, categories, notes, lambda index: table_example(table, index))


def box_problems(labels: LabelSet, split: str, wanted: Sequence[str]) -> list[Problem]:
    """List all that is wrong with a split's labels. Raises: InputError: a class that is not there."""
    _, bad = _make_table(labels.splits[split], select_classes(labels, wanted))
    return [*labels.splits[split].problems, *bad]


def select_classes(labels: LabelSet, wanted: Sequence[str]) -> tuple[Category, ...]:
    """Keep the classes asked for, by name and with the ids that they have; all if none is asked for.

    Raises:
        InputError: a name is not in the data set.
    """
    known = [name for _, name in labels.categories]
    wrong = [f"{name!r} ({nearest_names(name, known)})" for name in wanted if name not in known]
    if wrong:
        raise InputError(
            f"config.data.classes: {len(wrong)} of the class names asked for are not in {labels.root}: "
            f"{shorten_list(wrong)}. Use its names."
        )
    return tuple(category for category in labels.categories if not wanted or category.name in wanted)


def mask_source(labels: LabelSet, split: str, wanted: Sequence[str], notes: tuple[str, ...]) -> Source:
    """Return a split's class maps, painted from outlines: large objects first, so that small ones stay.

    What is known of an object is what is painted: where only its box is known, the box's pixels are ignored.
    A class called background is 0, one called _ignore_ is ignored.

    Raises:
        InputError: the labels have faults, no outlines, or not the classes asked for.
    """
    found = labels.splits[split]
    report_problems(found.problems, _name(labels, split), "error")
    if not any(
        shape.outline for part in labels.splits.values() for image in part.images for shape in image.shapes
    ):
        raise InputError(
            f"{labels.root}: its labels ({labels.format}) are boxes, and masks need outlines. Draw polygons, "
            "or train a detector: configs/own_data.py."
        )
    classes = mask_classes(labels, wanted)

    def read_labels(index: int) -> Example:
        height, width = read_image_size(found.paths[index])
        _check_size(found, index, (height, width))
        mask = paint(found.images[index].shapes, classes.values, (height, width))
        return {"image_id": found.images[index].image_id, "mask": mask}

    return _source(labels, split, classes.categories, notes, read_labels)


def mask_classes(labels: LabelSet, wanted: Sequence[str]) -> MaskClasses:
    """Return the classes of masks: those asked for in their order, else all, behind the background.

    Raises:
        InputError: a name is not in the data set, or there are too many classes.
    """
    known = [name for _, name in labels.categories]
    is_plain = [name for name in known if name.lower() not in (*BACKGROUND, *IGNORE)]
    names = [name for name in wanted if name.lower() not in BACKGROUND] or is_plain
    select_classes(labels, names)
    if len(names) >= IGNORED:
        raise InputError(f"{labels.root}: {len(names)} classes; a mask holds at most {IGNORED - 1}.")
    values = {name: number for number, name in enumerate(names, 1)}
    values |= {name: 0 for name in known if name.lower() in BACKGROUND}
    values |= {name: IGNORED for name in known if name.lower() in IGNORE}
    categories = (
        Category(0, "background"),
        *(Category(number, name) for number, name in enumerate(names, 1)),
    )
    return MaskClasses(categories, values)


def paint(
    shapes: Sequence[Shape], values: Mapping[str, int], size_px: tuple[int, int]
) -> UInt8[np.ndarray, "H W"]:
    """Paint shapes by falling area over background 0; classes without a value are left out.

    Polygons are filled as pycocotools fills them.
    """
    mask = np.zeros(size_px, np.uint8)
    painted = [
        (fill(shape, size_px), values[shape.name] if shape.outline else IGNORED)
        for shape in shapes
        if shape.name in values
    ]
    for covered, value in sorted(painted, key=lambda pair: -int(pair[0].sum())):
        mask[covered] = value
    return mask


def fill(shape: Shape, size_px: tuple[int, int]) -> np.ndarray:
    """Return the pixels of an object, of its box where no outline is known."""
    outline: Outline = shape.outline or (corners(shape.yxyx),)
    if isinstance(outline, Mapping):
        return mask_api.decode(compress(outline)).astype(bool)
    rings: Any = mask_api.frPyObjects([list(ring) for ring in outline], *size_px)
    return mask_api.decode(mask_api.merge(rings)).astype(bool)


def _check_size(found: SplitLabels, index: int, size_px: tuple[int, int]) -> None:
    stated = found.sizes_px[index]
    if stated != size_px:
        raise InputError(
            f"{found.paths[index]}: the image is {size_px[1]} x {size_px[0]} pixels (width x height), its "
            f"labels say {stated[1]} x {stated[0]}, so they would not fit. Label the image as it is now."
        )


def _make_table(split: SplitLabels, categories: Sequence[Category]) -> tuple[LabelTable, list[Problem]]:
    ids = {name: number for number, name in categories}
    boxes = [
        Box(index, shape.yxyx, ids[shape.name], shape.is_crowd, shape.number, shape.area)
        for index, image in enumerate(split.images)
        for shape in image.shapes
        if shape.name in ids
    ]
    sizes = np.array(split.sizes_px, np.float64).reshape(-1, 2)
    image_ids = tuple(image.image_id for image in split.images)
    return make_table(boxes, image_ids, sizes, lambda box: split.images[box.image].spot.format(box.number))


def _source(
    labels: LabelSet, split: str, categories: tuple[Category, ...], notes: tuple[str, ...], read_labels: Any
) -> Source:
    found = labels.splits[split]
    source = file_source(
        _name(labels, split),
        categories,
        tuple(image.image_id for image in found.images),
        found.paths.__getitem__,
        read_labels,
        found.sizes_px,
        tuple(path.relative_to(labels.root).as_posix() for path in found.paths),
    )
    return dataclasses.replace(source, notes=notes)


def _name(labels: LabelSet, split: str) -> str:
    kind = labels.format.partition(" (")[0].partition(" as ")[0].partition("'")[0].lower()
    return f"{kind}:{labels.root.name}/{split or 'all'}"
