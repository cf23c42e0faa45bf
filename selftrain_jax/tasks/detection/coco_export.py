"""Ground truth and detections in COCO's format, for pycocotools.

Call `write_coco_json` for the truth, `to_coco_results` for each image's detections. Image ids of both are
the labels' `coco_id` where they have one, else those of `export_image_ids`; `source_ids` leads back.
"""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from selftrain_jax.data.source import Source, encoded_suffix
from selftrain_jax.errors import InputError
from selftrain_jax.io import atomic_write, read_json
from selftrain_jax.types import Example


def export_image_ids(image_ids: Sequence[str]) -> Sequence[int | str]:
    """Give integers back when all ids are digits that an integer keeps ("7", not "007")."""
    if all(name.isascii() and name.isdecimal() and str(int(name)) == name for name in image_ids):
        return [int(image_id) for image_id in image_ids]
    return list(image_ids)


def write_coco_json(source: Source, path: str | os.PathLike) -> None:
    """Write a labelled source's ground truth; image sizes come from the images' headers.

    An image's id and `file_name` are the labels' `coco_id` and `file_name` where they have them, and
    `source_id` is then the source's id; else `file_name` is that of `image_file_name`. `area` is the object's
    own where the source knows it (`areas`), else the box's.

    Raises:
        InputError: the source has no labels.
    """
    if not source.categories:
        raise InputError(f"{source.name} has no labels to write. Name a labelled data set.")
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    ids: Sequence[int | str] = export_image_ids(source.image_ids)
    for index, exported_id in enumerate(ids):
        example = source.read_labels(index)
        image_id = example.get("coco_id", exported_id)
        images.append(_image_record(source, index, image_id, example))
        boxes_xywh = _to_xywh(example["boxes"])
        areas = example.get("areas", boxes_xywh[:, 2] * boxes_xywh[:, 3])
        columns = (boxes_xywh.tolist(), example["classes"], areas.tolist(), example["is_crowd"])
        for box, class_id, area, crowd in zip(*columns, strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,  # pycocotools takes id 0 for "not matched"
                    "image_id": image_id,
                    "category_id": int(class_id),
                    "bbox": box,
                    "area": area,
                    "iscrowd": int(crowd),
                }
            )
    categories = [{"id": category.id, "name": category.name} for category in source.categories]
    document = {"info": {}, "images": images, "annotations": annotations, "categories": categories}
    with atomic_write(pathlib.Path(path)) as file:
        json.dump(document, file)


def image_file_name(source: Source, index: int) -> str:
    """Return an image's name below its folder: the source's, else the id, by the bytes if without suffix."""
    if source.file_names:
        return source.file_names[index]
    image_id = source.image_ids[index]
    if pathlib.PurePosixPath(image_id).suffix:
        return image_id
    return f"{image_id}{encoded_suffix(source.read_encoded(index)) or ''}"


def has_outdated_ids(path: pathlib.Path, source: Source) -> bool:
    """Say whether a file of `write_coco_json` has the source's ids where its labels now have a `coco_id`.

    Raises:
        InputError: the file is no JSON.
    """
    coco_id = source.read_labels(0).get("coco_id") if len(source) else None
    if coco_id is None:
        return False
    match read_json(path, "delete it; the same command writes it again"):
        case {"images": [{"id": image_id}, *_]}:
            return image_id != coco_id
    return True


def source_ids(document: Mapping[str, Any]) -> dict[str, str]:
    """Map the image ids of `write_coco_json`'s file, as text, to the source's, where they are others."""
    return {str(image["id"]): image["source_id"] for image in document["images"] if "source_id" in image}


def to_coco_results(
    image_id: int | str,
    boxes_yxyx: Float[np.ndarray, "D 4"],
    scores: Float[np.ndarray, " D"],
    classes: Int[np.ndarray, " D"],
) -> list[dict[str, Any]]:
    """Write one image's detections (original pixels) as COCO results, in the order given.

    Paper: boxes are submitted in original pixels with the original category ids.
    """
    return [
        {"image_id": image_id, "category_id": int(class_id), "bbox": box, "score": float(score)}
        for box, score, class_id in zip(_to_xywh(boxes_yxyx).tolist(), scores, classes, strict=True)
    ]


def _to_xywh(boxes: Float[np.ndarray, "N 4"]) -> Float[np.ndarray, "N 4"]:
    boxes = boxes.astype(np.float64)
    return np.concatenate([boxes[:, 1::-1], boxes[:, :1:-1] - boxes[:, 1::-1]], axis=1)


def _image_record(source: Source, index: int, image_id: int | str, example: Example) -> dict[str, Any]:
    is_numbered = "coco_id" in example
    file_name = example["file_name"] if is_numbered else image_file_name(source, index)
    height, width = source.size_px(index)
    record = {"id": image_id, "file_name": file_name, "width": width, "height": height}
    return record | ({"source_id": example["image_id"]} if is_numbered else {})
