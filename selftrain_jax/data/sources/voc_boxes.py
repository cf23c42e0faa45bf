"""Pascal VOC folders of boxes: Annotations/*.xml, JPEGImages/, ImageSets/Main/<split>.txt.

Call `read_voc`. VOC counts pixels from 1 and both corners belong to the box; here a box is
half-open from 0, so (xmin, ymin, xmax, ymax) becomes (xmin - 1, ymin - 1, xmax, ymax).
"""

import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from selftrain_jax.data.formats.shapes import read_whole
from selftrain_jax.data.formats.voc import objects, parse_object
from selftrain_jax.data.image_files import (
    LONGEST_SHOWN,
    file_source,
    find_image,
    is_file,
    path_inside,
    read_file,
    read_image_size,
    require_folder,
)
from selftrain_jax.data.problems import BadBoxes, nearest_names, report_problems
from selftrain_jax.data.source import MAX_IMAGE_PIXELS, Problem, Source
from selftrain_jax.data.sources.label_table import Box, LabelTable, make_table, table_example
from selftrain_jax.data.sources.xml_tree import Element, parse_xml
from selftrain_jax.errors import InputError
from selftrain_jax.types import Category

LONGEST_NUMBER = 20  # digits


class _Image(NamedTuple):
    image_id: str
    xml: pathlib.Path
    path: pathlib.Path
    size_px: tuple[int, int]
    objects: list[Element]


_Trees = dict[str, tuple[pathlib.Path, Element]]  # image id -> file and its root element


def read_voc(
    root: str | os.PathLike,
    split: str,
    classes: Sequence[str] | None = None,
    *,
    bad_boxes: BadBoxes = "error",
    is_one_based: bool = True,
) -> Source:
    """Read boxes as yxyx pixels, clipped to the image size that the XML states.

    Class ids are positions in `classes`, from 1; without it, among all names in the Annotations folder,
    sorted, so that all splits agree. `difficult` objects get `is_crowd`: training leaves them out and
    evaluation ignores them, as VOC's own does. A box whose two corners coincide in x or in y (a stray click)
    has no area. With `bad_boxes="drop"`, bad boxes are left out, with one warning. An object with several
    <bndbox> gives a box each. `is_one_based` is False for corners from 0 that are half-open, as CVAT's are.

    Raises:
        InputError: anything that `find_problems` finds.
    """
    root = pathlib.Path(root)
    categories, images, table, problems = _read(root, split, classes, is_one_based)
    name = f"voc:{root.resolve().name}/{split}"
    report_problems(problems, name, bad_boxes)
    return file_source(
        name,
        categories,
        table.image_ids,
        lambda index: images[index].path,
        lambda index: table_example(table, index),
        [image.size_px for image in images],
    )


def find_problems(
    root: str | os.PathLike,
    split: str,
    classes: Sequence[str] | None = None,
    *,
    is_one_based: bool = True,
) -> Iterator[Problem]:
    """Yield all that is wrong with a split's files and boxes; decodes no image."""
    try:
        *_, problems = _read(pathlib.Path(root), split, classes, is_one_based)
    except InputError as error:
        problems = [Problem("malformed", str(root), str(error))]
    yield from problems


def _read(
    root: pathlib.Path, split: str, classes: Sequence[str] | None, is_one_based: bool
) -> tuple[tuple[Category, ...], list[_Image], LabelTable, list[Problem]]:
    root = require_folder(root, "the VOC folder")
    xml_root = require_folder(root / "Annotations", "the folder of annotations")
    image_root = require_folder(root / "JPEGImages", "the folder of images")
    trees, problems = _parse_split(root, xml_root, split)
    if classes is not None and len(set(classes)) < len(classes):
        raise InputError(f"the class names {list(classes)} repeat; expected each once.")
    names = tuple(classes) if classes is not None else _all_names(xml_root, trees, problems)
    read = [_read_image(image_id, xml, tree, image_root) for image_id, (xml, tree) in trees.items()]
    images = [image for image in read if isinstance(image, _Image)]
    problems += [problem for problem in read if isinstance(problem, Problem)]
    boxes, more = _read_boxes(images, names, is_one_based)
    sizes = np.array([image.size_px for image in images], np.float64).reshape(-1, 2)
    image_ids = tuple(image.image_id for image in images)
    table, bad = make_table(boxes, image_ids, sizes, lambda box: f"{images[box.image].xml}:{box.number}")
    categories = tuple(Category(number, name) for number, name in enumerate(names, 1))
    return categories, images, table, [*problems, *more, *bad]


def _parse_split(root: pathlib.Path, xml_root: pathlib.Path, split: str) -> tuple[_Trees, list[Problem]]:
    list_path, image_ids = _read_image_ids(root, split)
    trees: _Trees = {}
    problems = []
    for line, image_id in image_ids:
        where, shown = f"{list_path}:{line}", image_id[:LONGEST_SHOWN]
        path = path_inside(xml_root, f"{image_id}.xml")
        if path is None:
            problems.append(Problem("malformed", where, f"image id {shown!r} leaves {xml_root}"))
        elif image_id in trees:
            problems.append(Problem("duplicate_id", where, f"image {shown} is listed twice"))
        elif not is_file(path):
            problems.append(
                Problem("malformed", where, f"image {shown} has no annotation file in {xml_root}")
            )
        else:
            try:
                trees[image_id] = (path, parse_xml(path))
            except InputError as error:
                problems.append(Problem("malformed", str(path), str(error)))
    return trees, problems


def _read_image_ids(root: pathlib.Path, split: str) -> tuple[pathlib.Path, list[tuple[int, str]]]:
    """Read the split's list, with line numbers."""
    folder = root / "ImageSets" / "Main"
    path = folder / f"{split}.txt"
    if not is_file(path):
        known = ", ".join(sorted(file.stem for file in folder.glob("*.txt"))[:20]) or "none"
        raise InputError(f"{path}: there is no split {split!r}; splits found: {known}. Name one of them.")
    try:
        lines = read_file(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error}). Expected one image id a line.") from error
    image_ids = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    if not image_ids:
        raise InputError(f"{path}: is empty; expected one image id a line.")
    return path, image_ids


def _all_names(xml_root: pathlib.Path, trees: _Trees, problems: list[Problem]) -> tuple[str, ...]:
    """Collect the class names of every XML in the folder; add files that do not parse to `problems`."""
    parsed = dict(trees.values())
    bad = {problem.where for problem in problems}
    for path in sorted(xml_root.rglob("*.xml")):
        if path in parsed or str(path) in bad:
            continue
        try:
            parsed[path] = parse_xml(path)
        except InputError as error:
            problems.append(Problem("malformed", str(path), str(error)))
    names = {item.find_text("name") for tree in parsed.values() for item in objects(tree)}
    return tuple(sorted(name for name in names if name))


def _read_image(
    image_id: str, xml: pathlib.Path, tree: Element, image_root: pathlib.Path
) -> _Image | Problem:
    file_name = tree.find_text("filename")
    if file_name is None:
        return Problem("malformed", f"{xml}:{tree.line}", "has no <filename>; expected the name of its image")
    path = find_image(image_root, file_name, str(xml))
    if isinstance(path, Problem):
        return path
    try:
        size_px = _stated_size(tree) or read_image_size(path)
    except InputError as error:
        return Problem("malformed", str(path), str(error))
    return _Image(image_id, xml, path, size_px, objects(tree))


def _stated_size(tree: Element) -> tuple[int, int] | None:
    """Return (height, width), or None where the XML does not say, or says 0 as some tools do."""
    height, width = (tree.find_text(f"size/{side}") or "" for side in ("height", "width"))
    sides = [_read_side(text) for text in (height, width)]
    if None in sides:
        return None
    tall, wide = (side or 0 for side in sides)
    if tall * wide > MAX_IMAGE_PIXELS:
        raise InputError(
            f"<size> is {width[:LONGEST_NUMBER]} x {height[:LONGEST_NUMBER]} pixels (width x height); "
            f"expected at most {MAX_IMAGE_PIXELS}. Scale or tile the image."
        )
    return (tall, wide) if min(tall, wide) > 0 else None


def _read_side(text: str) -> int | None:
    """Return a side of 640, also of 640.0; None for what is no whole number."""
    if text.isdecimal() and len(text) > LONGEST_NUMBER:
        return MAX_IMAGE_PIXELS + 1
    side = read_whole(text)
    return side if side is not None and side >= 0 else None


def _read_boxes(
    images: list[_Image], names: tuple[str, ...], is_one_based: bool
) -> tuple[list[Box], list[Problem]]:
    class_ids = {name: number for number, name in enumerate(names, 1)}
    found = [
        box
        for index, image in enumerate(images)
        for item in image.objects
        for box in _read_object(index, item, class_ids, image, is_one_based)
    ]
    problems = [problem for problem in found if isinstance(problem, Problem)]
    return [box for box in found if isinstance(box, Box)], problems


def _read_object(
    index: int, item: Element, class_ids: dict[str, int], image: _Image, is_one_based: bool
) -> list[Box | Problem]:
    name = item.find_text("name")
    if name not in class_ids:
        message = f"image {image.image_id}: class {name!r} is not among `classes`"
        hint = f" ({nearest_names(name, class_ids)})" if name else ""
        return [Problem("unknown_class", f"{image.xml}:{item.line}", message + hint)]
    shapes = parse_object(item, str(image.xml), image.image_id, is_one_based=is_one_based)
    return [
        shape
        if isinstance(shape, Problem)
        else Box(index, shape.yxyx, class_ids[name], shape.is_crowd, shape.number)
        for shape in shapes
    ]
