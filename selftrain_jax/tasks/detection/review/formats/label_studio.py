"""Label Studio: tasks with predictions go in, its JSON export comes back.

Call `write_label_studio` and `read_label_studio`.
Reference: https://labelstud.io/guide/predictions and .../guide/export (JSON). Sides are percent of the image.
"""

from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np

from selftrain_jax.data.formats.label_studio import read_region, submitted_annotations
from selftrain_jax.data.image_files import read_file
from selftrain_jax.data.source import Problem
from selftrain_jax.errors import InputError
from selftrain_jax.io import atomic_write, parse_json, show, write_json
from selftrain_jax.run_files.review import Review, SentBox, SentImage
from selftrain_jax.tasks.detection.review.formats.returned import RawBox, ReturnedImage, read_index

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


def read_label_studio(path: Path) -> list[ReturnedImage]:
    """Read the tasks that somebody submitted an annotation of; of several the one changed last counts.

    A submitted annotation confirms its image, whether anything was changed or not. Skipped (cancelled)
    annotations and drafts do not count.

    Raises:
        InputError: a task is not of the JSON export's form, or a region is no upright box of one class.
    """
    document = parse_json(read_file(path), str(path))
    found = [
        _read_task(task, f"{path}, task {task.get('id', number)}") for number, task in enumerate(document)
    ]
    return [image for image in found if image is not None]


def _read_task(task: dict[str, Any], where: str) -> ReturnedImage | None:
    annotations, data = task.get("annotations"), task.get("data")
    if not isinstance(annotations, list) or not isinstance(data, dict):
        raise InputError(
            f"{where}: it has no list of annotations beside its data; export the project as JSON, not "
            "JSON-MIN, and not the tasks that were imported"
        )
    submitted = submitted_annotations(annotations)
    if not submitted:
        return None
    _, last = submitted[-1]
    found = [_read_box(region, number, where) for number, region in enumerate(last["result"])]
    boxes, sizes = zip(*filter(None, found), strict=True) if any(found) else ((), ())
    names = [data[key] for key in ("image_id", "image") if isinstance(data.get(key), str)]
    return ReturnedImage(
        tuple(names),
        boxes,
        where,
        size_px=sizes[0] if sizes else None,
        is_confirmed=True,
        by=_who(last.get("completed_by")),
        at=str(last.get("updated_at", "")),
    )


def _read_box(region: Any, number: int, where: str) -> tuple[RawBox, tuple[int, int]] | None:
    """Return a rectangle and its image's size; None for what is no region, such as a choice."""
    region_id = show(region.get("id")) if isinstance(region, dict) else number
    own = f"{where}, region {region_id}"
    found = read_region(region, number, own, {})
    if isinstance(found, str):
        return None
    if isinstance(found, Problem):
        raise InputError(f"{found.where}: {found.message}")
    shapes, size_px = found
    if len(shapes) != 1:
        raise InputError(
            f"{own}: its labels are {show([shape.name for shape in shapes])}; expected one class"
        )
    (shape,) = shapes
    if shape.outline:
        raise InputError(f"{own}: it is turned, or no rectangle; expected upright boxes: draw one around it")
    index = read_index(shape.shape_id.removeprefix("r")) if shape.shape_id.startswith("r") else None
    return RawBox(np.array(shape.yxyx), shape.name, index, own), size_px


def _who(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("email") or value.get("id")
    return "" if value is None else f"user {value}" if isinstance(value, int) else str(value)
