"""LabelMe: one JSON an image; call `write_labelme` and `read_labelme`.

Reference: labelme 5's own writer. Shapes keep keys that labelme does not know, so `record` comes back.
"""

from pathlib import Path
from typing import Any

from selftrain_jax.data.image_files import read_file
from selftrain_jax.errors import InputError
from selftrain_jax.io import parse_json, show, write_json
from selftrain_jax.run_files.review import Review, SentBox
from selftrain_jax.tasks.detection.review.formats.returned import (
    RawBox,
    ReturnedImage,
    enclose,
    read_index,
    read_numbers,
)

VERSION = "5.5.0"  # of the form
SHAPES = ("rectangle", "polygon")


def write_labelme(review: Review, folder: Path) -> None:
    """Write NAME.json for each image, with its absolute path and no pixels."""
    names = dict(review.categories)
    for image in review.images:
        path = (folder / image.name).with_suffix(".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        height, width = image.size_px
        write_json(
            path,
            {
                "version": VERSION,
                "flags": {},
                "shapes": [_shape(box, names[box.class_id]) for box in image.boxes],
                "imagePath": image.path,
                "imageData": None,
                "imageHeight": height,
                "imageWidth": width,
            },
        )


def _shape(box: SentBox, name: str) -> dict[str, Any]:
    ymin, xmin, ymax, xmax = box.box
    return {
        "label": name,
        "points": [[xmin, ymin], [xmax, ymax]],
        "group_id": None,
        "description": f"score {box.score:.3f}",
        "shape_type": "rectangle",
        "flags": {},
        "mask": None,
        "record": box.index,
        "score": box.score,
    }


def is_labelme(document: Any) -> bool:
    """Tell whether a JSON document is LabelMe's."""
    return isinstance(document, dict) and isinstance(document.get("shapes"), list) and "imagePath" in document


def read_labelme(path: Path) -> ReturnedImage:
    """Read one image's file. Raises: InputError: a shape is no rectangle or polygon with a label."""
    document = parse_json(read_file(path), str(path))
    boxes = tuple(_read_shape(shape, f"{path}, shapes[{n}]") for n, shape in enumerate(document["shapes"]))
    size = document.get("imageHeight"), document.get("imageWidth")
    is_known = all(type(side) is int and side > 0 for side in size)
    return ReturnedImage(
        (str(document["imagePath"]), path.stem), boxes, str(path), size_px=size if is_known else None
    )


def _read_shape(shape: Any, where: str) -> RawBox:
    if not isinstance(shape, dict) or not isinstance(shape.get("label"), str):
        raise InputError(f"{where}: {show(shape)} is no shape with a label")
    kind, points = shape.get("shape_type"), shape.get("points")
    if kind not in SHAPES or not isinstance(points, list) or len(points) < 2:
        raise InputError(f"{where}: {show(kind)} of points {show(points)}; expected {' or '.join(SHAPES)}")
    corners = [read_numbers(point, 2, where, "a point").tolist() for point in points]
    return RawBox(enclose(corners), shape["label"], read_index(shape.get("record")), where)
