"""A small COCO data set for the tests of reading and of writing."""

import json
import pathlib
from typing import Any

import numpy as np
from PIL import Image

from selftrain_jax.data.source import Source
from selftrain_jax.data.sources.coco import read_coco_json

WIDTH, HEIGHT = 60, 40


def annotation(number: int, image: int | str, class_id: int, *bbox: Any, **more: Any) -> dict[str, Any]:
    return {"id": number, "image_id": image, "category_id": class_id, "bbox": list(bbox), **more}


def document() -> dict[str, Any]:
    """Three images and COCO's sparse ids; image 7 has no box."""
    return {
        "images": [
            {"id": number, "file_name": f"{number}.jpg", "width": WIDTH, "height": HEIGHT}
            for number in (42, 7, 9)
        ],
        "categories": [
            {"id": 90, "name": "toothbrush"},
            {"id": 1, "name": "person"},
            {"id": 13, "name": "stop sign"},
        ],
        "annotations": [
            annotation(1, 9, 13, 1.5, 2, 10, 20.25, iscrowd=0),
            annotation(2, 42, 1, 0, 0, 60, 40, iscrowd=1),
            annotation(3, 42, 90, 5, 6, 7, 8),
        ],
    }


def make_folder(parent: pathlib.Path) -> pathlib.Path:
    """Make three grey images; how light one is says its id."""
    (parent / "images").mkdir()
    for number in (42, 7, 9):
        image = np.full((HEIGHT, WIDTH, 3), number, np.uint8)
        Image.fromarray(image).save(parent / "images" / f"{number}.jpg")
    return parent


def write(folder: pathlib.Path, content: Any) -> pathlib.Path:
    path = folder / "labels.json"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(json.dumps(content))
    return path


def read(folder: pathlib.Path, content: Any, **options: Any) -> Source:
    return read_coco_json(write(folder, content), folder / "images", **options)


def with_annotation(*bbox: Any, image: int | str = 9, class_id: int = 1, **more: Any) -> dict[str, Any]:
    content = document()
    content["annotations"].append(annotation(4, image, class_id, *bbox, **more))
    return content
