"""COCO's annotation file, with scores; call `write_coco` and `read_coco`."""

from pathlib import Path
from typing import Any

import numpy as np

from selftrain_jax.data.image_files import read_file
from selftrain_jax.errors import InputError
from selftrain_jax.io import parse_json, show, write_json
from selftrain_jax.run_files.review import Review
from selftrain_jax.tasks.detection.review.formats.returned import (
    RawBox,
    ReturnedImage,
    read_index,
    read_numbers,
)

FILE = "annotations.json"


def write_coco(review: Review, folder: Path) -> None:
    """Write annotations.json: images by absolute path, boxes with `score`, numbered from 1.

    `attributes.record` of an annotation is the index of its box in the record: some tools keep attributes,
    while they all renumber annotations.
    """
    images, annotations = [], list[dict[str, Any]]()
    for number, image in enumerate(review.images, start=1):
        height, width = image.size_px
        images.append({"id": number, "file_name": image.path, "width": width, "height": height})
        for box in image.boxes:
            ymin, xmin, ymax, xmax = box.box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": box.class_id,
                    "bbox": [xmin, ymin, xmax - xmin, ymax - ymin],
                    "area": (xmax - xmin) * (ymax - ymin),
                    "iscrowd": 0,
                    "score": box.score,
                    "attributes": {"record": box.index},
                }
            )
    categories = [category._asdict() for category in review.categories]
    write_json(
        folder / FILE,
        {"info": {}, "images": images, "annotations": annotations, "categories": categories},
    )


def is_coco(document: Any) -> bool:
    """Tell whether a JSON document is COCO's."""
    return isinstance(document, dict) and {"images", "annotations", "categories"} <= document.keys()


def read_coco(path: Path) -> list[ReturnedImage]:
    """Read all images of a file, those without an annotation too.

    Raises:
        InputError: an entry is not of COCO's form, or names an image or class that is not in the file.
    """
    document = parse_json(read_file(path), str(path))
    images = _by_id(document["images"], "images", "file_name", path)
    names = _by_id(document["categories"], "categories", "name", path)
    boxes: dict[Any, list[RawBox]] = {image_id: [] for image_id in images}
    for number, entry in enumerate(_objects(document["annotations"], "annotations", path)):
        where = f"{path}, annotations[{number}]"
        image_id, class_id = entry.get("image_id"), entry.get("category_id")
        for key, value, known in (("image_id", image_id, boxes), ("category_id", class_id, names)):
            if not isinstance(value, int | str) or value not in known:
                raise InputError(f"{where}: {key} is {show(value)}, which the file does not list")
        x, y, width, height = read_numbers(entry.get("bbox"), 4, where, "bbox")
        attributes = entry.get("attributes")
        index = read_index(attributes.get("record")) if isinstance(attributes, dict) else None
        box = np.array([y, x, y + height, x + width])
        boxes[image_id].append(RawBox(box, names[class_id]["name"], index, where))
    return [
        ReturnedImage(
            (image["file_name"],), tuple(boxes[image_id]), f"{path}, image {image_id}", size_px=_size(image)
        )
        for image_id, image in images.items()
    ]


def _by_id(entries: Any, key: str, field: str, path: Path) -> dict[Any, dict[str, Any]]:
    found: dict[Any, dict[str, Any]] = {}
    for number, entry in enumerate(_objects(entries, key, path)):
        own = entry.get("id")
        if not isinstance(own, int | str) or own in found or not isinstance(entry.get(field), str):
            raise InputError(
                f"{path}, {key}[{number}]: expected an id of its own and a {field}, got {show(entry)}"
            )
        found[own] = entry
    return found


def _objects(entries: Any, key: str, path: Path) -> list[dict[str, Any]]:
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{path}: {key} is {show(entries)}; expected a list of objects")
    return entries


def _size(image: dict[str, Any]) -> tuple[int, int] | None:
    size = image.get("height"), image.get("width")
    return size if all(type(side) is int and side > 0 for side in size) else None  # type: ignore[return-value]
