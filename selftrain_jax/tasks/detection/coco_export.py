"""Ground truth and detections in COCO's format, for pycocotools.

Call `write_coco_json` for the truth, `to_coco_results` for each image's detections; image ids of
both come from `export_image_ids`.
"""

import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from selftrain_jax.data.source import Source, encoded_suffix, image_size
from selftrain_jax.errors import InputError
from selftrain_jax.io import atomic_write


def export_image_ids(image_ids: Sequence[str]) -> Sequence[int | str]:
    """Give integers back when all ids are digits that an integer keeps ("7", not "007")."""
    if all(name.isascii() and name.isdecimal() and str(int(name)) == name for name in image_ids):
        return [int(image_id) for image_id in image_ids]
    return list(image_ids)


def write_coco_json(source: Source, path: str | os.PathLike) -> None:
    """Write a labelled source's ground truth; image sizes come from the images' headers.

    `file_name` is the image id, with the suffix of its bytes where it has none. `area` is the
    object's own where the source knows it (`areas`), else the box's.

    Raises:
        InputError: the source has no labels.
    """
    if not source.categories:
        raise InputError(f"{source.name} has no labels to write. Name a labelled data set.")
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    ids: Sequence[int | str] = export_image_ids(source.image_ids)
    for index, image_id in enumerate(ids):
        images.append(_image_record(source, index, image_id))
        example = source.read_labels(index)
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


def _image_record(source: Source, index: int, image_id: int | str) -> dict[str, Any]:
    encoded = source.read_encoded(index)
    height, width = image_size(encoded, f"{source.name}, image {image_id}")
    has_suffix = bool(pathlib.PurePosixPath(str(image_id)).suffix)
    file_name = str(image_id) if has_suffix else f"{image_id}{encoded_suffix(encoded) or ''}"
    return {"id": image_id, "file_name": file_name, "width": width, "height": height}
