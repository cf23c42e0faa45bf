"""The records of a COCO annotation file, one function for each kind; each returns values and problems.

Call `read_categories`, `read_images`, then `read_boxes`.
"""

import math
import pathlib
from typing import Any, NamedTuple

import numpy as np

from selftrain_jax.data.image_files import find_image, is_text, read_image_size
from selftrain_jax.data.source import MAX_IMAGE_PIXELS, Problem
from selftrain_jax.data.sources.label_table import Box
from selftrain_jax.errors import InputError
from selftrain_jax.io import show
from selftrain_jax.types import MAX_CLASS_ID, Category

_MAX_AREA = float(np.finfo(np.float32).max)
_UNKNOWN_SIZE = (2**30, 2**30)  # for an image whose problem stops the reader anyway


class Images(NamedTuple):
    """Where the images are and how large they are."""

    indices: dict[str, int]  # by image id
    paths: list[pathlib.Path]
    sizes_px: list[tuple[int, int]]


def read_categories(records: list[Any], path: str) -> tuple[tuple[Category, ...], list[Problem]]:
    """Read the classes, sorted by id."""
    categories: dict[int, Category] = {}
    problems = []
    for number, record in enumerate(records):
        where = f"{path}, categories[{number}]"
        match record:
            case {"id": int(class_id), "name": str(name)} if is_text(name):
                if not 1 <= class_id <= MAX_CLASS_ID:
                    expected = f"expected 1 to {MAX_CLASS_ID}, as 0 is the background; renumber the classes"
                    problems.append(
                        Problem("malformed", where, f"class {name!r} has id {class_id}; {expected}")
                    )
                elif class_id in categories:
                    problems.append(Problem("duplicate_id", where, f"class id {class_id} is taken twice"))
                elif name in (category.name for category in categories.values()):
                    problems.append(Problem("duplicate_id", where, f"class name {name!r} is taken twice"))
                else:
                    categories[class_id] = Category(class_id, name)
            case _:
                problems.append(_malformed(where, record, "an integer id and a name that is text"))
    return tuple(categories[class_id] for class_id in sorted(categories)), problems


def read_images(records: list[Any], root: pathlib.Path, path: str) -> tuple[Images, list[Problem]]:
    """Find each image's file below `root`, and its size."""
    images = Images({}, [], [])
    problems = []
    for number, record in enumerate(records):
        where = f"{path}, images[{number}]"
        match record:
            case {"id": int() | str() as image_id, "file_name": str()} if str(image_id) in images.indices:
                problems.append(Problem("duplicate_id", where, f"image id {image_id} is taken twice"))
            case {"id": int() | str() as image_id, "file_name": str(file_name)} if is_text(str(image_id)):
                file, size, problem = _locate(root, file_name, record, where)
                problems += [problem] if problem else []
                images.indices[str(image_id)] = len(images.paths)
                images.paths.append(file)
                images.sizes_px.append(size)
            case _:
                problems.append(_malformed(where, record, "an integer or text id and a file_name"))
    return images, problems


def _locate(
    root: pathlib.Path, file_name: str, record: dict, where: str
) -> tuple[pathlib.Path, tuple[int, int], Problem | None]:
    """Find an image's file and (height, width), from the file's header where the record states none."""
    file = find_image(root, file_name, where)
    if isinstance(file, Problem):
        return root, _UNKNOWN_SIZE, file
    match record:
        case {"height": int(height), "width": int(width)} if height > 0 and width > 0:
            if height * width <= MAX_IMAGE_PIXELS:
                return file, (height, width), None
            found = f"{show(width)} x {show(height)} pixels are stated (width x height)"
            message = f"{found}; expected at most {MAX_IMAGE_PIXELS}. Scale or tile the image."
            return file, _UNKNOWN_SIZE, Problem("malformed", where, message)
    try:
        return file, read_image_size(file), None
    except InputError as error:
        return file, _UNKNOWN_SIZE, Problem("malformed", where, str(error))


def read_boxes(
    records: list[Any], image_indices: dict[str, int], categories: tuple[Category, ...], path: str
) -> tuple[list[Box], list[Problem]]:
    """Turn xywh boxes of known images and classes into yxyx.

    `area` may be absent or null: then the object's area is unknown. A 0 counts as stated.
    """
    class_ids = {category.id for category in categories}
    boxes, problems = [], []
    taken: set[str] = set()
    for number, record in enumerate(records):
        where = f"{path}, annotations[{number}]"
        match record:
            case {"id": int() | str() as annotation_id}:
                if str(annotation_id) in taken:
                    problems.append(
                        Problem("duplicate_id", where, f"annotation id {annotation_id} is taken twice")
                    )
                taken.add(str(annotation_id))
        box = _read_box(record, number, image_indices, class_ids, where)
        if isinstance(box, Box):
            boxes.append(box)
        else:
            problems.append(box)
    return boxes, problems


def _read_box(
    record: Any, number: int, image_indices: dict[str, int], class_ids: set[int], where: str
) -> Box | Problem:
    match record:
        case {
            "image_id": int() | str() as image_id,
            "category_id": int(class_id),
            "bbox": [_, _, _, _] as bbox,
        }:
            if str(image_id) not in image_indices:
                return Problem("missing_image", where, f'image_id {image_id} is not among "images"')
            if class_id not in class_ids:
                known = f"known ids: {sorted(class_ids)[:10]}"
                message = f"image {image_id}: category_id {class_id} is not among the categories ({known})"
                return Problem("unknown_class", where, message)
            if not all(isinstance(value, int | float) for value in bbox):
                return Problem(
                    "malformed", where, f"image {image_id}: bbox is {show(bbox)}; expected four numbers"
                )
            area = _read_area(record.get("area"))
            if area is None:
                found = f"area is {show(record['area'])}; expected a number of px² from 0, or none at all"
                return Problem("malformed", where, f"image {image_id}: {found}")
            x, y, width, height = map(_to_float, bbox)
            yxyx = (y, x, y + height, x + width)
            return Box(
                image_indices[str(image_id)], yxyx, class_id, bool(record.get("iscrowd", 0)), number, area
            )
    return _malformed(where, record, "image_id, an integer category_id and a bbox [x, y, width, height]")


def _read_area(stated: Any) -> float | None:
    """Return NaN for an area that is not stated, None for an invalid one."""
    match stated:
        case None:
            return math.nan
        case int() | float() if 0 <= stated <= _MAX_AREA:
            return float(stated)
    return None


def _to_float(value: int | float) -> float:
    """Turn integers too large for a float into infinity, which the box check refuses."""
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def _malformed(where: str, record: Any, expected: str) -> Problem:
    found = f"keys {', '.join(map(show, list(record)[:10]))}" if isinstance(record, dict) else show(record)
    return Problem("malformed", where, f"expected an object with {expected}; got {found}")
