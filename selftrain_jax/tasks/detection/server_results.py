"""`results.json`, the list that COCO's evaluation server takes; call `annotated_ids` or `stem_ids` first.

They give the integers that the server knows images by: from an annotation file, or from names such as
000000397133.jpg. `server_results` then makes the list.
"""

import pathlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from selftrain_jax.data.image_files import read_file
from selftrain_jax.errors import InputError
from selftrain_jax.io import parse_json, show
from selftrain_jax.tasks.detection.coco_export import to_coco_results
from selftrain_jax.text import shorten_list
from selftrain_jax.types import Category, Example

KEY = "config.predict.annotations"


class CocoIds(NamedTuple):
    """The ids of images, by our image id, and of classes, by Category.id."""

    images: dict[str, int]
    classes: dict[int, int]


def annotated_ids(path: pathlib.Path, image_ids: Sequence[str], categories: Sequence[Category]) -> CocoIds:
    """Look up each image by the file's `file_name`, and each class by its name where the file lists classes.

    Raises:
        InputError: the file is no COCO annotation file or does not have an image or a class; ids are no
            integers, or two names share one.
    """
    document = parse_json(read_file(path), str(path))
    records = document.get("images") if isinstance(document, dict) else None
    if not isinstance(records, list):
        raise InputError(f'{path}: no list "images"; expected a COCO annotation file ({KEY}).')
    known = _ids_by_name(records, "file_name", f"{path}, images")
    images = _look_up(known, image_ids, f"{path} ({KEY}): images", "file_name, below config.predict.input")
    classes = {category.id: category.id for category in categories}
    if document.get("categories"):
        by_name = _ids_by_name(document["categories"], "name", f"{path}, categories")
        names = [category.name for category in categories]
        found = _look_up(by_name, names, f"{path} ({KEY}): classes", "name among its categories")
        classes = {category.id: found[category.name] for category in categories}
    return CocoIds(images, classes)


def stem_ids(image_ids: Sequence[str], categories: Sequence[Category]) -> CocoIds | str:
    """Read each image's integer off its file name; a phrase says why that is not possible."""
    stems = {image_id: pathlib.PurePosixPath(image_id).stem for image_id in image_ids}
    words = [image_id for image_id, stem in stems.items() if not (stem.isascii() and stem.isdecimal())]
    if words:
        return f"{len(words)} of {len(stems)} file names are no numbers: {shorten_list(words)}"
    images = {image_id: int(stem) for image_id, stem in stems.items()}
    if shared := _sharing_one(images):
        return f"{len(shared)} of {len(stems)} file names stand for the same number: {shorten_list(shared)}"
    return CocoIds(images, {category.id: category.id for category in categories})


def server_results(found: Iterable[Example], ids: CocoIds) -> list[dict[str, Any]]:
    """Return every image's detections as COCO results with these ids."""
    return [
        record
        for image in found
        for record in to_coco_results(
            ids.images[image["image_id"]],
            image["boxes"],
            image["scores"],
            np.array([ids.classes[int(class_id)] for class_id in image["classes"]], np.int64),
        )
    ]


def _ids_by_name(records: Any, key: str, where: str) -> dict[str, int]:
    """Map the records' names to their ids, which must be integers."""
    ids: dict[str, int] = {}
    for number, record in enumerate(records if isinstance(records, list) else [records]):
        match record:
            case {"id": int(found), **rest} if type(found) is int and isinstance(name := rest.get(key), str):
                if ids.setdefault(name, found) != found:
                    both = f"{ids[name]} and {found}"
                    raise InputError(f"{where}[{number}]: {key} {show(name)} has the ids {both}; give it one")
            case _:
                raise InputError(f"{where}[{number}]: {show(record)}; expected an integer id and a {key}")
    return ids


def _look_up(known: dict[str, int], names: Sequence[str], what: str, expected: str) -> dict[str, int]:
    """Take the ids of `names`. Raises: InputError when one has none or shares it."""
    missing = [name for name in names if name not in known]
    if missing:
        listed = f"it has {shorten_list(list(known))}" if known else "it has none"
        raise InputError(
            f"{what}: {len(missing)} of {len(names)} are not in the file: {shorten_list(missing)}; {listed}. "
            f"Expected each as a {expected}: name the file of this data set, or leave {KEY} empty"
        )
    found = {name: known[name] for name in names}
    if shared := _sharing_one(found):
        raise InputError(f"{what}: {len(shared)} have the id of another: {shorten_list(shared)}; number them")
    return found


def _sharing_one(ids: dict[str, int]) -> list[str]:
    counts = Counter(ids.values())
    return [name for name, number in ids.items() if counts[number] > 1]
