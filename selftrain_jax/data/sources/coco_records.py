"""The records of a COCO annotation file, one function for each kind; each returns values and problems.

Call `read_categories`, `read_images`, then `read_boxes`.
"""

import math
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as mask_api

from selftrain_jax.data.formats.shapes import bounds_of_all, read_number, read_whole
from selftrain_jax.data.image_files import find_image, is_text, read_image_size
from selftrain_jax.data.source import MAX_IMAGE_PIXELS, Problem
from selftrain_jax.data.sources.label_table import Box, Outline
from selftrain_jax.errors import InputError
from selftrain_jax.io import show
from selftrain_jax.types import MAX_CLASS_ID, Category

_MAX_AREA = float(np.finfo(np.float32).max)
FindImage = Callable[[str, str], pathlib.Path | Problem]
_UNKNOWN_SIZE = (2**30, 2**30)  # for an image whose problem stops the reader anyway


class Images(NamedTuple):
    """Where the images are and how large they are."""

    indices: dict[str, int]  # by image id
    paths: list[pathlib.Path]
    sizes_px: list[tuple[int, int]]


def read_categories(
    records: list[Any], path: str, *, shift: int = 0
) -> tuple[tuple[Category, ...], list[Problem]]:
    """Read the classes, sorted by id; `shift` is added to each id."""
    categories: dict[int, Category] = {}
    problems = []
    for number, record in enumerate(records):
        where = f"{path}, categories[{number}]"
        match record:
            case {"id": stated, "name": str(name)} if is_text(name) and read_whole(stated) is not None:
                class_id = (read_whole(stated) or 0) + shift
                if not 1 <= class_id <= MAX_CLASS_ID:
                    expected = f"expected 1 to {MAX_CLASS_ID}, as 0 is the background; renumber the classes"
                    if class_id == 0:
                        expected += ", or set --config.data.kind=auto, which adds 1 to every id"
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


def read_images(
    records: list[Any], root: pathlib.Path, path: str, find: FindImage | None = None
) -> tuple[Images, list[Problem]]:
    """Find each image's file below `root`, and its size; `find` takes a file name and where it is from."""
    find = find or (lambda file_name, where: find_image(root, file_name, where))
    images = Images({}, [], [])
    problems = []
    for number, record in enumerate(records):
        where = f"{path}, images[{number}]"
        match record:
            case {"id": stated, "file_name": str()} if read_id(stated) in images.indices:
                problems.append(Problem("duplicate_id", where, f"image id {stated} is taken twice"))
            case {"id": stated, "file_name": str(file_name)} if is_text(read_id(stated) or "\ud800"):
                file, size, problem = _locate(find(file_name, where), record, where)
                problems += [problem] if problem else []
                images.indices[read_id(stated) or ""] = len(images.paths)
                images.paths.append(file)
                images.sizes_px.append(size)
            case _:
                problems.append(_malformed(where, record, "an integer or text id and a file_name"))
    return images, problems


def _locate(
    file: pathlib.Path | Problem, record: dict, where: str
) -> tuple[pathlib.Path, tuple[int, int], Problem | None]:
    """Return an image's file and (height, width), from the file's header where the record states none."""
    if isinstance(file, Problem):
        return pathlib.Path(), _UNKNOWN_SIZE, file
    height, width = (read_whole(record.get(side)) or 0 for side in ("height", "width"))
    if height > 0 and width > 0:
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
    records: list[Any],
    image_indices: dict[str, int],
    categories: tuple[Category, ...],
    path: str,
    *,
    shift: int = 0,
    outlines: bool = False,
) -> tuple[list[Box], list[Problem]]:
    """Turn xywh boxes of known images and classes into yxyx; an empty bbox is the bounds of its polygons.

    `area` may be absent or null: then the object's area is unknown. A 0 counts as stated. `shift` is added to
    the class ids. With `outlines` the boxes keep the segmentation, where it is one.
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
        box = _read_box(record, number, image_indices, class_ids, where, shift)
        if isinstance(box, Box):
            boxes.append(box._replace(outline=read_outline(record.get("segmentation"))) if outlines else box)
        else:
            problems.append(box)
    return boxes, problems


def read_id(stated: Any) -> str | None:
    """Return an id as text, 7 for 7.0 as pandas writes it; None for what is no id."""
    if isinstance(stated, str):
        return stated
    number = read_whole(stated)
    return None if number is None else str(number)


def read_outline(stated: Any) -> Outline:
    """Return a segmentation's polygons or run lengths; () where it is neither."""
    match stated:
        case {"size": [int(), int()], "counts": str() | list()}:
            return dict(stated)
        case [list(), *_]:
            rings = [tuple(map(read_number, ring)) for ring in stated if isinstance(ring, list)]
            whole = [ring for ring in rings if len(ring) >= 6 and len(ring) % 2 == 0 and None not in ring]
            return tuple(whole) if len(whole) == len(stated) else ()  # type: ignore[arg-type]
    return ()


def _read_box(
    record: Any,
    number: int,
    image_indices: dict[str, int],
    class_ids: set[int],
    where: str,
    shift: int,
) -> Box | Problem:
    match record:
        case {"image_id": stated_image, "category_id": stated_class}:
            image_id, class_id = read_id(stated_image), read_whole(stated_class)
            bbox = _find_bbox(record)
            if image_id is None or class_id is None or not isinstance(bbox, list) or len(bbox) != 4:
                return _malformed_box(record, where)
            if image_id not in image_indices:
                return Problem("missing_image", where, f'image_id {image_id} is not among "images"')
            if class_id + shift not in class_ids:
                known = f"known ids: {sorted(known_id - shift for known_id in class_ids)[:10]}"
                message = f"image {image_id}: category_id {class_id} is not among the categories ({known})"
                return Problem("unknown_class", where, message)
            if not all(isinstance(value, int | float) for value in bbox):
                return Problem(
                    "malformed", where, f"image {image_id}: bbox is {show(bbox)}; expected four numbers"
                )
            area, is_crowd = _read_area(record.get("area")), _read_crowd(record.get("iscrowd"))
            if area is None:
                found = f"area is {show(record['area'])}; expected a number of px² from 0, or none at all"
                return Problem("malformed", where, f"image {image_id}: {found}")
            if is_crowd is None:
                found = f"iscrowd is {show(record['iscrowd'])}; expected 0 or 1"
                return Problem("malformed", where, f"image {image_id}: {found}")
            x, y, width, height = map(_to_float, bbox)
            yxyx = (y, x, y + height, x + width)
            return Box(image_indices[image_id], yxyx, class_id + shift, is_crowd, number, area)
    return _malformed_box(record, where)


def _find_bbox(record: dict[str, Any]) -> Any:
    """Return the bbox, or where it is empty the bounds of the polygons beside it."""
    bbox = record.get("bbox")
    outline = read_outline(record.get("segmentation")) if bbox in (None, []) else ()
    if not outline:
        return bbox
    if isinstance(outline, Mapping):
        return _rle_bounds(outline)
    low_y, low_x, high_y, high_x = bounds_of_all(outline)
    return [low_x, low_y, high_x - low_x, high_y - low_y]


def _rle_bounds(outline: Mapping[str, Any]) -> list[float] | None:
    try:
        return [float(value) for value in mask_api.toBbox(compress(outline))]
    except (TypeError, ValueError):  # counts that do not fit the size
        return None


def compress(outline: Mapping[str, Any]) -> Any:
    """Return run lengths as pycocotools takes them, whether `counts` is a list or text."""
    counts, size = outline["counts"], outline["size"]
    if isinstance(counts, str):
        return {"size": size, "counts": counts.encode()}
    return mask_api.frPyObjects({"size": size, "counts": counts}, *size)


def _read_crowd(stated: Any) -> bool | None:
    """Return whether it is a crowd: 0 or 1, also as text; None for anything else."""
    return {0: False, 1: True}.get(0 if stated is None else _whole_or_bool(stated))


def _whole_or_bool(stated: Any) -> int:
    whole = int(stated) if isinstance(stated, bool) else read_whole(stated)
    return -1 if whole is None else whole


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


def _malformed_box(record: Any, where: str) -> Problem:
    expected = "image_id, an integer category_id and a bbox [x, y, width, height]"
    if isinstance(record, dict) and {"image_id", "category_id", "bbox"} <= set(record):
        found = ", ".join(f"{key} {show(record[key])}" for key in ("image_id", "category_id", "bbox"))
        return Problem("malformed", where, f"expected an object with {expected}; got {found}")
    return _malformed(where, record, expected)


def _malformed(where: str, record: Any, expected: str) -> Problem:
    found = f"keys {', '.join(map(show, list(record)[:10]))}" if isinstance(record, dict) else show(record)
    return Problem("malformed", where, f"expected an object with {expected}; got {found}")
