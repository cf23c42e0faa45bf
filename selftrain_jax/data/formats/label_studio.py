"""Label Studio's JSON, a list of tasks, whole or "JSON-MIN"; call `parse_tasks`, or its parts on one task.

Coordinates are percent of the image; a rectangle is turned clockwise about its upper left corner.

Reference: labelstud.io/guide/export, labelstud.io/guide/task_format.
"""

import re
from collections import Counter
from typing import Any

from selftrain_jax.data.formats.shapes import (
    ImageLabels,
    Parsed,
    Ring,
    Shape,
    bounds,
    ellipse,
    malformed,
    polygon_area,
    read_number,
    read_whole,
    rotate,
)
from selftrain_jax.data.source import Problem
from selftrain_jax.io import show

UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")  # before the name of an uploaded file
LABEL_KEYS = ("rectanglelabels", "polygonlabels", "ellipselabels", "labels")
SEVERAL = "tasks with several annotations, of which the newest counts"
NOT_ANNOTATED = "tasks without an annotation"


def parse_tasks(document: Any, where: str) -> Parsed:
    """Return the shapes of every task that somebody annotated; of several annotations the newest counts.

    An annotation without regions is an image without objects; a task without an annotation is left out.
    """
    parsed = Parsed([], [], Counter())
    if not isinstance(document, list):
        parsed.problems.append(malformed(where, document, "a list of tasks"))
        return parsed
    for number, task in enumerate(document):
        _add_task(parsed, task, f"{where}, tasks[{number}]")
    return parsed


def is_task_list(document: Any) -> bool:
    """Say whether a document looks like a list of Label Studio's tasks."""
    match document:
        case [{"data": dict(), "annotations": list()}, *_] | [{"data": dict(), "predictions": list()}, *_]:
            return True
        case [dict() as first, *_]:  # JSON-MIN: the data's keys beside the labels'
            return "annotation_id" in first and image_of(first) is not None
    return False


def _add_task(parsed: Parsed, task: Any, where: str) -> None:
    data = task.get("data", task) if isinstance(task, dict) else None
    image = image_of(data) if isinstance(data, dict) else None
    if image is None:
        parsed.problems.append(malformed(where, task, "a task with data.image"))
        return
    regions, key = _regions(task, parsed.left_out)
    if regions is None:
        parsed.left_out[NOT_ANNOTATED] += 1
        return
    shapes: list[Shape] = []
    sizes: set[tuple[int, int]] = set()
    named = {item.get("id"): item for item in regions if isinstance(item, dict) and _labels(item)}
    for number, region in enumerate(regions):
        found = read_region(region, number, f"{where}.{key}[{number}]", named)
        if isinstance(found, str):
            parsed.left_out[found] += bool(found)
        elif isinstance(found, Problem):
            parsed.problems.append(found)
        else:
            shapes += found[0]
            sizes.add(found[1])
    if len(sizes) > 1:
        parsed.problems.append(Problem("malformed", where, f"its regions state several sizes: {sizes}"))
    name, image_id = image, str(task.get("id", ""))
    size = next(iter(sizes), None)
    parsed.images.append(ImageLabels(name, tuple(shapes), size, f"{where}.{key}[{{}}]", image_id))


def image_of(data: dict[str, Any]) -> str | None:
    """Return the image's address among a task's data: under "image", else the only text that names a file."""
    for key in ("image", "img", "image_url", "url"):
        if isinstance(data.get(key), str):
            return data[key]
    texts = [value for value in data.values() if isinstance(value, str) and "." in value and "/" in value]
    return texts[0] if len(texts) == 1 else None


def _regions(task: dict[str, Any], left_out: Counter[str]) -> tuple[list[Any] | None, str]:
    """Return the regions of a task, and the key they are under."""
    key = "annotations"
    if "data" not in task:  # JSON-MIN holds one annotation
        found = [value for value in task.values() if isinstance(value, list) and _is_regions(value)]
        return [item for items in found for item in items], "label"
    submitted = submitted_annotations(task.get(key))
    if not submitted:
        return None, key
    if len(submitted) > 1:
        left_out[SEVERAL] += 1
    number, newest = submitted[-1]
    return newest["result"], f"{key}[{number}].result"


def submitted_annotations(stated: Any) -> list[tuple[int, dict[str, Any]]]:
    """Return a task's annotations that nobody cancelled, with their numbers; the one that counts is last.

    What is marked as ground truth counts before all others, and of those the one changed last.
    """
    found = [
        (number, item)
        for number, item in enumerate(stated if isinstance(stated, list) else [])
        if isinstance(item, dict) and isinstance(item.get("result"), list) and not item.get("was_cancelled")
    ]
    # `updated_at` is ISO 8601 in one zone, so that text order is time's.
    return sorted(
        found,
        key=lambda pair: (bool(pair[1].get("ground_truth")), str(pair[1].get("updated_at", "")), pair[0]),
    )


def _is_regions(value: list[Any]) -> bool:
    return all(isinstance(item, dict) and "original_width" in item for item in value)


def _labels(region: dict[str, Any]) -> list[str]:
    """Return a region's classes; JSON-MIN has no `value` around its keys."""
    value = region.get("value", region)
    found = [value[key] for key in LABEL_KEYS if isinstance(value, dict) and isinstance(value.get(key), list)]
    return [str(name) for names in found for name in names]


def read_region(
    region: Any, number: int, where: str, named: dict[Any, dict[str, Any]]
) -> tuple[list[Shape], tuple[int, int]] | Problem | str:
    """Return a region's shapes, one a class, and the image's size; else a fault, or what is left out."""
    value = region.get("value", region) if isinstance(region, dict) else None
    if not isinstance(value, dict):
        return malformed(where, region, "a region with a value")
    labels = _labels(region)
    if not labels:
        # A rectangle may be named by another region of the same id; a choice or a text names no region.
        is_named = region.get("id") in named
        has_place = "points" in value or "width" in value
        if not has_place or is_named:
            return "" if is_named else f"{region.get('type', 'other')} results"
        return Problem("unknown_class", where, "a region without a label; give it one or remove it")
    sides = [read_whole(region.get(key)) for key in ("original_height", "original_width")]
    height, width = (side or 0 for side in sides)
    if min(height, width) <= 0:
        return malformed(where, region, "original_width and original_height in pixels")
    if read_number(region.get("image_rotation", 0)):
        found = f"image_rotation is {show(region['image_rotation'])}"
        return Problem("malformed", where, f"{found}; expected 0: rotate the image's pixels, then label it")
    ring = _ring(value, height, width)
    if ring is None:
        kind = region.get("type") or "regions"
        return f"{kind} (only rectangles, polygons and ellipses are read)"
    shape_id = str(region.get("id", ""))
    box = bounds(ring)
    is_box = "width" in value and not (read_number(value.get("rotation", 0)) or 0) % 360
    outline = () if is_box else (ring,)
    known: dict[str, Any] = {"outline": outline, "area": polygon_area(ring), "shape_id": shape_id}
    known["score"] = read_number(region.get("score"))
    shapes = [Shape(name, box, number, **known) for name in labels]
    return shapes, (height, width)


def _ring(value: dict[str, Any], height: int, width: int) -> Ring | None:
    """Return a region's corners in pixels; None where it is no rectangle, polygon or ellipse."""
    keys = [key for key in ("x", "y", "width", "height") if key in value]
    if "points" in value:
        points = value["points"]
        pairs = points if isinstance(points, list) else []
        flat = [part for pair in pairs if isinstance(pair, list) and len(pair) == 2 for part in pair]
        numbers = [read_number(part) for part in flat]
        if len(flat) < 6 or len(flat) != 2 * len(pairs) or None in numbers:
            return None
        return _to_pixels(numbers, height, width)
    turn = read_number(value.get("rotation", 0)) or 0.0
    if "radiusX" in value:
        places = [read_number(value.get(key)) for key in ("x", "y", "radiusX", "radiusY")]
        if None in places:
            return None
        x, y, radius_x, radius_y = _to_pixels(places, height, width)
        return rotate(ellipse(x, y, radius_x, radius_y), turn, (x, y))
    places = [read_number(value.get(key)) for key in keys]
    if len(keys) < 4 or None in places:
        return None
    x, y, w, h = _to_pixels(places, height, width)
    return rotate((x, y, x + w, y, x + w, y + h, x, y + h), turn, (x, y))


def _to_pixels(places: list[float | None], height: int, width: int) -> Ring:
    return tuple((place or 0.0) * (height if axis % 2 else width) / 100 for axis, place in enumerate(places))
