"""Label Studio: tasks with predictions go in, its JSON export comes back.

Call `write_label_studio` and `read_label_studio`.
Reference: https://labelstud.io/guide/predictions and .../guide/export (JSON). Sides are percent of the image.
"""

from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np

from selftrain_jax.data.image_files import read_file
from selftrain_jax.errors import InputError
from selftrain_jax.io import atomic_write, parse_json, show, write_json
from selftrain_jax.run_files.review import Review, SentBox, SentImage
from selftrain_jax.tasks.detection.review.formats.returned import (
    RawBox,
    ReturnedImage,
    read_index,
    read_numbers,
)

TASKS_FILE, CONFIG_FILE = "tasks.json", "labeling_config.xml"
REGION = "rectanglelabels"


def write_label_studio(review: Review, folder: Path, *, url_prefix: str, url_root: Path) -> None:
    """Write tasks.json, with the boxes as predictions, and labeling_config.xml.

    An image's address is `url_prefix` and its path below `url_root`. A region's id is the index of its box in
    the record, as r12; `model_version` is the start of the teacher's digest.

    Raises:
        InputError: an image is not below `url_root`.
    """
    names = dict(review.categories)
    version = str(review.teacher.get("digest", ""))[:12]
    write_json(
        folder / TASKS_FILE,
        [
            {
                "data": {"image": _url(image, url_prefix, url_root), "image_id": image.image_id},
                "predictions": [_prediction(image, names, version)],
            }
            for image in review.images
        ],
    )
    labels = "".join(f"    <Label value={quoteattr(name)}/>\n" for name in names.values())
    with atomic_write(folder / CONFIG_FILE) as file:
        file.write(
            '<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
            f'  <RectangleLabels name="label" toName="image">\n{labels}  </RectangleLabels>\n</View>\n'
        )


def _url(image: SentImage, prefix: str, root: Path) -> str:
    if not prefix:
        return image.path
    try:
        return prefix + quote(Path(image.path).relative_to(root).as_posix())
    except ValueError:
        raise InputError(
            f"image {image.image_id} is {image.path}, which is not below config.review.url_root={root}; "
            "name the folder that the tool serves (Label Studio: LOCAL_FILES_DOCUMENT_ROOT)"
        ) from None


def _prediction(image: SentImage, names: dict[int, str], version: str) -> dict[str, Any]:
    scores = [box.score for box in image.boxes]
    return {
        "model_version": version,
        "score": sum(scores) / len(scores) if scores else 0.0,
        "result": [_region(box, image.size_px, names[box.class_id]) for box in image.boxes],
    }


def _region(box: SentBox, size_px: tuple[int, int], name: str) -> dict[str, Any]:
    height, width = size_px
    ymin, xmin, ymax, xmax = box.box
    return {
        "id": f"r{box.index}",
        "type": REGION,
        "from_name": "label",
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": box.score,
        "value": {
            "x": 100 * xmin / width,
            "y": 100 * ymin / height,
            "width": 100 * (xmax - xmin) / width,
            "height": 100 * (ymax - ymin) / height,
            "rotation": 0,
            REGION: [name],
        },
    }


def is_label_studio(document: Any) -> bool:
    """Tell whether a JSON document is a list of Label Studio's tasks."""
    return isinstance(document, list) and all(isinstance(task, dict) and "data" in task for task in document)


def read_label_studio(path: Path) -> list[ReturnedImage]:
    """Read the tasks that somebody submitted an annotation of; of several the one changed last counts.

    A submitted annotation confirms its image, whether anything was changed or not. Skipped (cancelled)
    annotations and drafts do not count.

    Raises:
        InputError: a task is not of the JSON export's form, or a region is no upright box.
    """
    document = parse_json(read_file(path), str(path))
    found = [
        _read_task(task, f"{path}, task {task.get('id', number)}") for number, task in enumerate(document)
    ]
    return [image for image in found if image is not None]


def _read_task(task: dict[str, Any], where: str) -> ReturnedImage | None:
    annotations, data = task.get("annotations"), task["data"]
    if not isinstance(annotations, list) or not isinstance(data, dict):
        raise InputError(
            f"{where}: it has no list of annotations beside its data; export the project as JSON, not "
            "JSON-MIN, and not the tasks that were imported"
        )
    submitted = [
        entry for entry in annotations if isinstance(entry, dict) and not entry.get("was_cancelled", False)
    ]
    if not submitted:
        return None
    last = max(submitted, key=lambda entry: str(entry.get("updated_at", "")))
    regions = last.get("result")
    if not isinstance(regions, list) or not all(isinstance(region, dict) for region in regions):
        raise InputError(f"{where}: result is {show(regions)}; expected a list of regions")
    boxes = [_read_region(region, where) for region in regions if region.get("type") == REGION]
    names = [data[key] for key in ("image_id", "image") if isinstance(data.get(key), str)]
    return ReturnedImage(
        tuple(names),
        tuple(boxes),
        where,
        is_relative=True,
        is_confirmed=True,
        by=_who(last.get("completed_by")),
        at=str(last.get("updated_at", "")),
    )


def _read_region(region: dict[str, Any], where: str) -> RawBox:
    value, own = region.get("value"), f"{where}, region {show(region.get('id'))}"
    if not isinstance(value, dict):
        raise InputError(f"{own}: value is {show(value)}; expected x, y, width and height")
    x, y, width, height = read_numbers(
        [value.get(key) for key in ("x", "y", "width", "height")], 4, own, "value"
    )
    if value.get("rotation"):
        raise InputError(
            f"{own}: the box is turned by {show(value['rotation'])} degrees; boxes here are upright"
        )
    labels = value.get(REGION)
    if not isinstance(labels, list) or len(labels) != 1 or not isinstance(labels[0], str):
        raise InputError(f"{own}: its labels are {show(labels)}; expected one class")
    name = str(region.get("id", ""))
    index = read_index(name[1:]) if name.startswith("r") else None
    return RawBox(np.array([y, x, y + height, x + width]) / 100, labels[0], index, own)


def _who(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("email") or value.get("id")
    return "" if value is None else f"user {value}" if isinstance(value, int) else str(value)
