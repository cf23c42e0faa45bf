"""COCO annotation files; call `read_coco_json`.

Original category ids are kept (COCO: 1 to 90 with gaps, so 91 channels). `coco_export.py` writes the same
format.
"""

import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from selftrain_jax.data.image_files import file_source, read_file, require_folder
from selftrain_jax.data.problems import BadBoxes, nearest_names, report_problems
from selftrain_jax.data.source import Problem, Source
from selftrain_jax.data.sources.coco_records import Images, read_boxes, read_categories, read_images
from selftrain_jax.data.sources.label_table import LabelTable, make_table, table_example
from selftrain_jax.errors import InputError
from selftrain_jax.io import parse_json
from selftrain_jax.text import shorten_list
from selftrain_jax.types import Category

COCO_CATEGORIES: tuple[Category, ...] = tuple(
    Category(int(number), name)
    for number, name in (
        item.strip().split(" ", 1)
        for item in """
        1 person|2 bicycle|3 car|4 motorcycle|5 airplane|6 bus|7 train|8 truck|9 boat|10 traffic light
        11 fire hydrant|13 stop sign|14 parking meter|15 bench|16 bird|17 cat|18 dog|19 horse|20 sheep|21 cow
        22 elephant|23 bear|24 zebra|25 giraffe|27 backpack|28 umbrella|31 handbag|32 tie|33 suitcase
        34 frisbee|35 skis|36 snowboard|37 sports ball|38 kite|39 baseball bat|40 baseball glove
        41 skateboard|42 surfboard|43 tennis racket
        44 bottle|46 wine glass|47 cup|48 fork|49 knife|50 spoon|51 bowl|52 banana|53 apple
        54 sandwich|55 orange|56 broccoli|57 carrot|58 hot dog|59 pizza|60 donut|61 cake|62 chair|63 couch
        64 potted plant|65 bed|67 dining table|70 toilet|72 tv|73 laptop|74 mouse|75 remote|76 keyboard
        77 cell phone|78 microwave|79 oven|80 toaster|81 sink|82 refrigerator|84 book|85 clock|86 vase
        87 scissors|88 teddy bear|89 hair drier|90 toothbrush""".strip()
        .replace("\n", "|")
        .split("|")
    )
)
"""The 80 classes of COCO itself with their original ids."""


def read_coco_json(
    annotations_path: str | os.PathLike,
    images_dir: str | os.PathLike,
    *,
    category_names: Sequence[str] | None = None,
    categories: Sequence[Category] | None = None,
    bad_boxes: BadBoxes = "error",
) -> Source:
    """Read boxes as yxyx pixels, clipped to the image size that the file states.

    With `category_names`, keep these classes only; ids do not change. With `categories`, such as those of
    another split, the boxes of these classes are found by name and get these ids; a class that the file does
    not list has no box. With `bad_boxes="drop"`, leave out boxes that are not finite, have no area or lie
    outside the image, with one warning.

    `areas` are the annotations' `area`, COCO's measure of small, medium and large (of the outline, so below
    the box's; clipping the box does not change it). Where an annotation states none, it is the box's area; an
    image whose annotations all state none has no `areas`.

    Raises:
        InputError: anything that `find_problems` finds, and unknown `category_names`.
    """
    path, images_dir = pathlib.Path(annotations_path), pathlib.Path(images_dir)
    wanted = _Wanted(category_names, categories)
    found, images, table, problems = _read(path, images_dir, wanted)
    report_problems(problems, str(path), bad_boxes)
    return file_source(
        f"coco:{path.stem}",
        found,
        table.image_ids,
        images.paths.__getitem__,
        lambda index: table_example(table, index),
        images.sizes_px,
        tuple(os.path.relpath(file, images_dir.resolve()) for file in images.paths),
    )


def find_problems(
    annotations_path: str | os.PathLike,
    images_dir: str | os.PathLike,
    *,
    category_names: Sequence[str] | None = None,
    categories: Sequence[Category] | None = None,
) -> Iterator[Problem]:
    """Yield all that is wrong with the file, its boxes and its images' paths; decodes no image.

    The classes are chosen as by `read_coco_json`: it does not mind the boxes of others.
    """
    path = pathlib.Path(annotations_path)
    try:
        *_, problems = _read(path, pathlib.Path(images_dir), _Wanted(category_names, categories))
    except InputError as error:
        problems = [Problem("malformed", str(path), str(error))]
    yield from problems


def read_coco_categories(annotations_path: str | os.PathLike, names: Sequence[str]) -> tuple[Category, ...]:
    """Return the named classes of a file with its ids, in the order of the ids.

    Raises:
        InputError: the file is malformed, or a name is not in it or is given twice.
    """
    path = pathlib.Path(annotations_path)
    document = parse_json(read_file(path), str(path))
    categories, problems = read_categories(take_records(document, "categories", path), str(path))
    report_problems(problems, str(path), "error")
    return _select(categories, names, str(path))


class _Wanted(NamedTuple):
    """The classes to keep: by name with the file's ids, or by name with these ids; neither: all."""

    names: Sequence[str] | None
    categories: Sequence[Category] | None


def _read(
    path: pathlib.Path, images_dir: pathlib.Path, wanted: _Wanted
) -> tuple[tuple[Category, ...], Images, LabelTable, list[Problem]]:
    document = parse_json(read_file(path), str(path))
    root = require_folder(images_dir, "the image folder")
    categories, problems = read_categories(take_records(document, "categories", path), str(path))
    images, found = read_images(take_records(document, "images", path), root, str(path))
    boxes, more = read_boxes(
        take_records(document, "annotations", path), images.indices, categories, str(path)
    )
    kept = tuple(wanted.categories or _select(categories, wanted.names, str(path)))
    ids_by_name = {name: class_id for class_id, name in kept}
    ids = {class_id: ids_by_name[name] for class_id, name in categories if name in ids_by_name}
    boxes = [box._replace(class_id=ids[box.class_id]) for box in boxes if box.class_id in ids]
    sizes = np.array(images.sizes_px, np.float64).reshape(-1, 2)
    table, bad = make_table(
        boxes, tuple(images.indices), sizes, lambda box: f"{path}, annotations[{box.number}]"
    )
    return kept, images, table, [*problems, *found, *more, *bad]


def take_records(document: Any, key: str, path: pathlib.Path) -> list[Any]:
    """Take a list out of the document; only the annotations may be none."""
    found = document.get(key) if isinstance(document, dict) else None
    if isinstance(found, list) and (found or key == "annotations"):
        return found
    if not isinstance(document, dict):
        what = f"the document is a {type(document).__name__}"
    elif key not in document:
        what = f'key "{key}" is missing (keys: {", ".join(list(document)[:10])})'
    elif found == []:
        what = f'the list "{key}" is empty'
    else:
        what = f'key "{key}" holds a {type(document[key]).__name__}'
    raise InputError(
        f'{path}: {what}; expected COCO\'s object with the lists "images", "annotations" and "categories".'
    )


def _select(categories: tuple[Category, ...], names: Sequence[str] | None, path: str) -> tuple[Category, ...]:
    """Keep the named classes, all of which must be in the file."""
    if names is None:
        return categories
    if len(set(names)) < len(names):
        raise InputError(f"the class names {list(names)} repeat; expected each once.")
    known = [category.name for category in categories]
    wrong = [f"{name!r} ({nearest_names(name, known)})" for name in names if name not in known]
    if wrong:
        raise InputError(
            f"{path}: {len(wrong)} of the class names asked for are not in the file: {shorten_list(wrong)}. "
            "Use the file's names."
        )
    return tuple(category for category in categories if category.name in names)
