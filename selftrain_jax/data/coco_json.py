"""COCO annotation files: the paper's labelled data (section 3.2).

Call `read_coco_json`. Original category ids are kept (COCO: 1 to 90 with gaps, so 91 channels).
`coco_export.py` writes the same format.
"""

import json
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from selftrain_jax.data.image_files import (
    find_image,
    read_encoded_file,
    read_file,
    read_image_file,
    require_folder,
)
from selftrain_jax.data.label_table import Box, LabelTable, make_table, table_example
from selftrain_jax.data.problems import BadBoxes, nearest_names, report_problems
from selftrain_jax.data.source import Problem, Source, image_size
from selftrain_jax.errors import InputError
from selftrain_jax.types import Category

MAX_CLASS_ID = 9999  # every id up to the highest costs channels of the class head
_UNKNOWN_SIZE = (2**30, 2**30)  # of an image whose problem stops the reader anyway


class _Images(NamedTuple):
    rows: dict[str, int]  # image id -> index
    paths: list[pathlib.Path]
    sizes_px: list[tuple[int, int]]


class _Split(NamedTuple):
    categories: tuple[Category, ...]
    images: _Images
    boxes: list[Box]
    table: LabelTable


def read_coco_json(
    annotations_path: str | os.PathLike,
    images_dir: str | os.PathLike,
    *,
    category_names: Sequence[str] | None = None,
    bad_boxes: BadBoxes = "error",
) -> Source:
    """Read boxes as yxyx pixels, clipped to the image size that the file states.

    With `category_names`, keep these classes only; ids do not change. With `bad_boxes="drop"`,
    leave out boxes that are not finite, have no area or lie outside the image, with one warning.

    Raises: InputError for anything that `find_problems` finds and for unknown `category_names`.
    """
    path, images_dir = pathlib.Path(annotations_path), pathlib.Path(images_dir)
    split, problems = _read(path, images_dir, category_names)
    report_problems(problems, str(path), bad_boxes)
    if not split.images.paths:
        raise InputError(f'{path}: "images" is empty; expected at least one image.')
    paths, sizes = split.images.paths, split.images.sizes_px
    return Source(
        name=f"coco:{path.stem}",
        categories=split.categories,
        image_ids=split.table.image_ids,
        read_labels=lambda index: table_example(split.table, index),
        read_encoded=lambda index: read_encoded_file(paths[index]),
        read_image=lambda index: read_image_file(paths[index], sizes[index]),
    )


def find_problems(annotations_path: str | os.PathLike, images_dir: str | os.PathLike) -> Iterator[Problem]:
    """Yield all that is wrong with the file, its boxes and its images' places; decodes no image."""
    path = pathlib.Path(annotations_path)
    try:
        _, problems = _read(path, pathlib.Path(images_dir), None)
    except InputError as error:
        problems = [Problem("malformed", str(path), str(error))]
    yield from problems


def _read(
    path: pathlib.Path, images_dir: pathlib.Path, category_names: Sequence[str] | None
) -> tuple[_Split, list[Problem]]:
    document = _load_json(path)
    root = require_folder(images_dir, "the image folder")
    categories, problems = _read_categories(_records(document, "categories", path), str(path))
    images, found = _read_images(_records(document, "images", path), root, str(path))
    boxes, more = _read_boxes(_records(document, "annotations", path), images.rows, categories, str(path))
    kept = _select(categories, category_names, str(path))
    ids = {category.id for category in kept}
    boxes = [box for box in boxes if box.class_id in ids]
    sizes = np.array(images.sizes_px, np.float64).reshape(-1, 2)
    table, bad = make_table(boxes, tuple(images.rows), sizes, lambda box: f"{path}, annotations[{box.where}]")
    return _Split(kept, images, boxes, table), [*problems, *found, *more, *bad]


def _load_json(path: pathlib.Path) -> Any:
    try:
        return json.loads(read_file(path))
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}:{error.lineno}:{error.colno}: not JSON ({error.msg}). The file may be cut off; make it again."
        ) from error
    except (ValueError, RecursionError) as error:  # not text, or a number or nesting beyond Python's limits
        raise InputError(f"{path}: not JSON ({error}). Make the file again.") from error


def _records(document: Any, key: str, path: pathlib.Path) -> list[Any]:
    """Take a list of the document. Raises: InputError naming the key."""
    found = document.get(key) if isinstance(document, dict) else None
    if isinstance(found, list):
        return found
    if not isinstance(document, dict):
        what = f"the document is a {type(document).__name__}"
    elif key not in document:
        what = f'key "{key}" is missing (keys: {", ".join(list(document)[:10])})'
    else:
        what = f'key "{key}" holds a {type(document[key]).__name__}'
    raise InputError(
        f'{path}: {what}; expected COCO\'s object with the lists "images", "annotations" and "categories".'
    )


def _read_categories(records: list[Any], path: str) -> tuple[tuple[Category, ...], list[Problem]]:
    categories: dict[int, Category] = {}
    problems = []
    for number, record in enumerate(records):
        where = f"{path}, categories[{number}]"
        match record:
            case {"id": int(class_id), "name": str(name)}:
                if not 1 <= class_id <= MAX_CLASS_ID:
                    expected = f"expected 1 to {MAX_CLASS_ID}, as 0 is the background; renumber the classes"
                    problems.append(Problem("malformed", where, f"class {name!r} has id {class_id}; {expected}"))
                elif class_id in categories:
                    problems.append(Problem("duplicate_id", where, f"class id {class_id} is taken twice"))
                else:
                    categories[class_id] = Category(class_id, name)
            case _:
                problems.append(_malformed(where, record, "an integer id and a name"))
    return tuple(categories[class_id] for class_id in sorted(categories)), problems


def _read_images(records: list[Any], root: pathlib.Path, path: str) -> tuple[_Images, list[Problem]]:
    images = _Images({}, [], [])
    problems = []
    for number, record in enumerate(records):
        where = f"{path}, images[{number}]"
        match record:
            case {"id": int() | str() as image_id, "file_name": str()} if str(image_id) in images.rows:
                problems.append(Problem("duplicate_id", where, f"image id {image_id} is taken twice"))
            case {"id": int() | str() as image_id, "file_name": str(file_name)}:
                file, size, problem = _locate(root, file_name, record, where)
                problems += [problem] if problem else []
                images.rows[str(image_id)] = len(images.paths)
                images.paths.append(file)
                images.sizes_px.append(size)
            case _:
                problems.append(_malformed(where, record, "an integer or text id and a file_name"))
    return images, problems


def _locate(
    root: pathlib.Path, file_name: str, record: dict, where: str
) -> tuple[pathlib.Path, tuple[int, int], Problem | None]:
    """Find an image's file and (height, width), from the file's header where the record is silent."""
    file = find_image(root, file_name, where)
    if isinstance(file, Problem):
        return root, _UNKNOWN_SIZE, file
    match record:
        case {"height": int(height), "width": int(width)} if height > 0 and width > 0:
            return file, (height, width), None
    try:
        return file, image_size(read_file(file), str(file)), None
    except InputError as error:
        return file, _UNKNOWN_SIZE, Problem("malformed", where, str(error))


def _read_boxes(
    records: list[Any], rows: dict[str, int], categories: tuple[Category, ...], path: str
) -> tuple[list[Box], list[Problem]]:
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
        box = _read_box(record, number, rows, class_ids, where)
        if isinstance(box, Box):
            boxes.append(box)
        else:
            problems.append(box)
    return boxes, problems


def _read_box(record: Any, number: int, rows: dict[str, int], class_ids: set[int], where: str) -> Box | Problem:
    match record:
        case {"image_id": int() | str() as image_id, "category_id": int(class_id), "bbox": [x, y, width, height]}:
            if str(image_id) not in rows:
                return Problem("missing_image", where, f'image_id {image_id} is not among "images"')
            if class_id not in class_ids:
                known = f"known ids: {sorted(class_ids)[:10]}"
                message = f"image {image_id}: category_id {class_id} is not among the categories ({known})"
                return Problem("unknown_class", where, message)
            if not all(isinstance(value, int | float) for value in (x, y, width, height)):
                message = f"image {image_id}: bbox is {record['bbox']}; expected four numbers"
                return Problem("malformed", where, message)
            yxyx = tuple(np.array([y, x, y + height, x + width], np.float64).tolist())
            return Box(rows[str(image_id)], yxyx, class_id, bool(record.get("iscrowd", 0)), number)
    return _malformed(where, record, "image_id, an integer category_id and a bbox [x, y, width, height]")


def _malformed(where: str, record: Any, expected: str) -> Problem:
    found = f"keys {', '.join(map(str, record))}" if isinstance(record, dict) else repr(record)[:60]
    return Problem("malformed", where, f"expected an object with {expected}; got {found}")


def _select(
    categories: tuple[Category, ...], names: Sequence[str] | None, path: str
) -> tuple[Category, ...]:
    """Keep the named classes. Raises: InputError for a name that the file does not know."""
    if names is None:
        return categories
    known = [category.name for category in categories]
    wrong = [f"{name!r} ({nearest_names(name, known)})" for name in names if name not in known]
    if wrong:
        raise InputError(
            f"{path}: {len(wrong)} of the class names asked for are not in the file: {'; '.join(wrong[:5])}. "
            "Use the file's names."
        )
    return tuple(category for category in categories if category.name in names)
