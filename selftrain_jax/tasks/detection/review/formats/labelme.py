"""LabelMe: one JSON an image; call `write_labelme` and `read_labelme`.

Reference: labelme 5's own writer. Shapes keep keys that labelme does not know, so `record` comes back.
"""

from pathlib import Path
from typing import Any

import numpy as np

from selftrain_jax.data.formats.labelme import parse_image
from selftrain_jax.data.image_files import read_file
from selftrain_jax.io import parse_json, write_json
from selftrain_jax.run_files.review import Review, SentBox
from selftrain_jax.tasks.detection.review.formats.returned import (
    RawBox,
    ReturnedImage,
    read_index,
    refuse_first,
)

VERSION = "5.5.0"  # of the form


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


def read_labelme(path: Path) -> ReturnedImage:
    """Read one image's file. Raises: InputError: a shape is no rectangle, polygon or circle with a label."""
    document = parse_json(read_file(path), str(path))
    parsed = parse_image(document, str(path))
    refuse_first(parsed, str(path))
    (image,) = parsed.images
    boxes = [
        RawBox(
            np.array(shape.yxyx),
            shape.name,
            read_index(document["shapes"][shape.number].get("record")),
            image.spot.format(shape.number),
        )
        for shape in image.shapes
    ]
    return ReturnedImage((image.name, path.stem), tuple(boxes), str(path), size_px=image.size_px)
