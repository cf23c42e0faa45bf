"""Pascal VOC folders of boxes: Annotations/*.xml, JPEGImages/, ImageSets/Main/<split>.txt.

Call `read_voc`. VOC counts pixels from 1 and both corners belong to the box; here a box is
half-open from 0, so (xmin, ymin, xmax, ymax) becomes (xmin - 1, ymin - 1, xmax, ymax).
"""

import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from selftrain_jax.data.image_files import (
    find_image,
    path_inside,
    read_encoded_file,
    read_file,
    read_image_file,
    require_folder,
)
from selftrain_jax.data.label_table import Box, LabelTable, make_table, table_example
from selftrain_jax.data.problems import BadBoxes, nearest_names, report_problems
from selftrain_jax.data.source import Problem, Source, image_size
from selftrain_jax.data.xml_tree import Element, parse_xml
from selftrain_jax.errors import InputError
from selftrain_jax.types import Category


class _Image(NamedTuple):
    image_id: str
    xml: pathlib.Path
    path: pathlib.Path
    size_px: tuple[int, int]
    objects: list[Element]


class _Split(NamedTuple):
    categories: tuple[Category, ...]
    images: list[_Image]
    table: LabelTable


def read_voc(
    root: str | os.PathLike,
    split: str,
    classes: Sequence[str] | None = None,
    *,
    bad_boxes: BadBoxes = "error",
) -> Source:
    """Read boxes as yxyx pixels, clipped to the image size that the XML states.

    Class ids are positions in `classes`, from 1; without `classes` it is all names in the whole
    Annotations folder, sorted, so that every split agrees. `difficult` objects get `is_crowd`:
    training leaves them out and evaluation counts them neither way, as VOC's own does. A box whose
    two corners coincide in x or in y (a stray click) counts as one without area.
    With `bad_boxes="drop"`, leave out boxes that are not finite, have no area or lie outside the
    image, with one warning.

    Raises: InputError for anything that `find_problems` finds.
    """
    root = pathlib.Path(root)
    found, problems = _read(root, split, classes)
    name = f"voc:{root.resolve().name}/{split}"
    report_problems(problems, name, bad_boxes)
    images = found.images
    return Source(
        name=name,
        categories=found.categories,
        image_ids=found.table.image_ids,
        read_labels=lambda index: table_example(found.table, index),
        read_encoded=lambda index: read_encoded_file(images[index].path),
        read_image=lambda index: read_image_file(images[index].path, images[index].size_px),
    )


def find_problems(
    root: str | os.PathLike, split: str, classes: Sequence[str] | None = None
) -> Iterator[Problem]:
    """Yield all that is wrong with a split's files and boxes; decodes no image."""
    try:
        _, problems = _read(pathlib.Path(root), split, classes)
    except InputError as error:
        problems = [Problem("malformed", str(root), str(error))]
    yield from problems


def _read(root: pathlib.Path, split: str, classes: Sequence[str] | None) -> tuple[_Split, list[Problem]]:
    root = require_folder(root, "the VOC folder")
    xml_root = require_folder(root / "Annotations", "the folder of annotations")
    image_root = require_folder(root / "JPEGImages", "the folder of images")
    trees, problems = _parse_files(_split_files(root, xml_root, split))
    names = tuple(classes) if classes is not None else _all_names(xml_root, trees, problems)
    images = []
    for image_id, (xml, tree) in trees.items():
        image = _read_image(image_id, xml, tree, image_root)
        if isinstance(image, Problem):
            problems.append(image)
        else:
            images.append(image)
    boxes, more = _read_boxes(images, names)
    sizes = np.array([image.size_px for image in images], np.float64).reshape(-1, 2)
    image_ids = tuple(image.image_id for image in images)
    table, bad = make_table(boxes, image_ids, sizes, lambda box: f"{images[box.image].xml}:{box.where}")
    categories = tuple(Category(number, name) for number, name in enumerate(names, 1))
    return _Split(categories, images, table), [*problems, *more, *bad]


