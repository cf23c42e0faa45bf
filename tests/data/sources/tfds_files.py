"""Data sets as if TFDS had prepared them: real array_record files with the builders' own features."""

import io
import pathlib
from typing import Any

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 60, 40


def encoded_image(value: int, kind: str = "JPEG", size: tuple[int, int] = (HEIGHT, WIDTH)) -> io.BytesIO:
    buffer = io.BytesIO()
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(buffer, kind)
    return io.BytesIO(buffer.getvalue())


def bbox(ymin: float, xmin: float, ymax: float, xmax: float) -> Any:
    import tensorflow_datasets as tfds

    return tfds.features.BBox(float(ymin), float(xmin), float(ymax), float(xmax))


def prepare(
    data_dir: pathlib.Path, name: str, examples: list[dict[str, Any]], kind: str = "array_record"
) -> None:
    """Store examples as if TFDS had prepared them."""
    import tensorflow_datasets as tfds

    builder = tfds.builder(name, data_dir=data_dir)
    tfds.dataset_builders.store_as_tfds_dataset(
        name=builder.name,
        config=builder.builder_config.name if builder.builder_config else None,
        version=str(builder.version),
        features=builder.info.features,
        split_datasets={"train": enumerate(examples)},
        data_dir=data_dir,
        file_format=kind,
        disable_shuffling=True,
    )


def coco_example(number: int, *objects: tuple[int, Any, bool], image_id: int | None = None) -> dict[str, Any]:
    """Make a record whose image is of grey `number`; an object is (label, box, whether it is a crowd)."""
    coco_id = number if image_id is None else image_id
    return {
        "image": encoded_image(number),
        "image/filename": f"{coco_id:012d}.jpg",
        "image/id": coco_id,
        "objects": [
            {"id": 1, "area": 10 + label, "bbox": box, "label": label, "is_crowd": crowd}
            for label, box, crowd in objects
        ],
    }
