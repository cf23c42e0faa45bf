"""LabelMe's JSON, one file an image; call `parse_image`.

Rectangles, polygons and circles are shapes, as its own labelme2voc draws them. Other kinds (points, lines,
pasted masks) are left out and counted.

Reference: github.com/wkentaro/labelme.
"""

import math
from collections import Counter
from typing import Any

from selftrain_jax.data.formats.shapes import (
    ImageLabels,
    Parsed,
    Ring,
    Shape,
    bounds,
    corners,
    ellipse,
    malformed,
    polygon_area,
    read_number,
    read_whole,
)
from selftrain_jax.data.source import Problem
from selftrain_jax.io import show


def is_image_document(document: Any) -> bool:
    """Say whether a document looks like LabelMe's of one image."""
    return isinstance(document, dict) and "imagePath" in document and isinstance(document.get("shapes"), list)


def parse_image(document: Any, where: str) -> Parsed:
    """Return one image with its shapes, with scores where a tool wrote them."""
    parsed = Parsed([], [], Counter())
    if not is_image_document(document) or not isinstance(document["imagePath"], str):
        parsed.problems.append(malformed(where, document, "an object with imagePath and the list shapes"))
        return parsed
    shapes = []
    for number, record in enumerate(document["shapes"]):
        found = _read_shape(record, number, f"{where}, shapes[{number}]")
        if isinstance(found, Shape):
            shapes.append(found)
        elif isinstance(found, Problem):
            parsed.problems.append(found)
        else:
            parsed.left_out[found] += 1
    height, width = (read_whole(document.get(key)) or 0 for key in ("imageHeight", "imageWidth"))
    size = (height, width) if min(height, width) > 0 else None
    parsed.images.append(ImageLabels(document["imagePath"], tuple(shapes), size, f"{where}, shapes[{{}}]"))
    return parsed


def _read_shape(record: Any, number: int, where: str) -> Shape | Problem | str:
    match record:
        case {"label": str(name), "points": list(points)} if name.strip():
            pass
        case _:
            return malformed(where, record, "a shape with a label and points")
    kind = record.get("shape_type") or "polygon"
    if kind not in ("rectangle", "polygon", "circle"):
        return f"shapes of type {show(kind)}"
    flat = [part for pair in points if isinstance(pair, list) and len(pair) == 2 for part in pair]
    numbers = [value for value in map(read_number, flat) if value is not None]
    ring = _ring(kind, numbers) if len(numbers) == 2 * len(points) else None
    if ring is None:
        expected = {"rectangle": "two corners", "circle": "a centre and a point on the circle"}.get(kind)
        found = f"points of a {kind} are {show(points)}"
        return Problem("malformed", where, f"{found}; expected {expected or 'three points [x, y] or more'}")
    shape_id = "" if record.get("group_id") is None else str(record["group_id"])
    score = read_number(record.get("score"))
    # A rectangle is drawn as one: what it covers is known.
    return Shape(name, bounds(ring), number, (ring,), area=polygon_area(ring), score=score, shape_id=shape_id)


def _ring(kind: str, numbers: list[float]) -> Ring | None:
    if kind == "polygon":
        return tuple(numbers) if len(numbers) >= 6 else None
    if kind == "rectangle" and len(numbers) in (4, 8):  # since 5.6 some tools write all four corners
        return corners(bounds(numbers)) if len(numbers) == 4 else tuple(numbers)
    if kind == "circle" and len(numbers) == 4:
        x, y, edge_x, edge_y = numbers
        radius = math.hypot(edge_x - x, edge_y - y)
        return ellipse(x, y, radius, radius)
    return None
