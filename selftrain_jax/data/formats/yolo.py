"""YOLO's label files, a line an object: class cx cy w h, or class x1 y1 x2 y2 ..., as shares of the image.

Call `parse_names` on what data.yaml's `names` holds, then `parse_lines` on each label file.

Reference: docs.ultralytics.com/datasets/detect and /segment.
"""

from collections.abc import Mapping
from typing import Any

from selftrain_jax.data.formats.shapes import (
    Ring,
    Shape,
    bounds,
    polygon_area,
    read_number,
    read_whole,
)
from selftrain_jax.data.source import Problem
from selftrain_jax.errors import InputError
from selftrain_jax.io import show

MAX_OVERSHOOT = 1e-2  # of a share above 1 or below 0: rounding of boxes at the border


def parse_names(names: Any, where: str) -> dict[int, str]:
    """Return the class names by number, from a list or from {0: name}; numbers may be missing.

    Raises:
        InputError: it is neither, or a name comes twice.
    """
    if isinstance(names, list):
        names = dict(enumerate(names))
    found: dict[int, str] = {}
    for number, name in names.items() if isinstance(names, dict) else ():
        whole = read_whole(number)
        if whole is None or whole < 0 or isinstance(name, dict | list) or name is None:
            raise InputError(f"{where}: names has {show(number)}: {show(name)}; expected 0: a name.")
        found[whole] = str(name)
    if not found:
        raise InputError(f"{where}: names is {show(names)}; expected a list of class names, or {{0: name}}.")
    if len(set(found.values())) < len(found):
        raise InputError(f"{where}: names {show(list(found.values()))} repeat; expected each once.")
    return dict(sorted(found.items()))


def parse_lines(
    text: str,
    names: Mapping[int, str] | None,
    size_px: tuple[int, int],
    where: str,
    *,
    has_key_points: bool = False,
) -> tuple[list[Shape], list[Problem]]:
    """Turn the lines of a label file into shapes in pixels of an image of `size_px` (height, width).

    Five numbers are a box, six a box with the score of a prediction, an odd number from seven on a polygon,
    whose bounds are the box. With `has_key_points` what follows a box is left out. Empty lines are skipped.
    Without `names` a shape is named by its class number.
    """
    shapes: list[Shape] = []
    problems: list[Problem] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            found = _parse_line(line.split(), number, names, size_px, f"{where}:{number}", has_key_points)
            (problems if isinstance(found, Problem) else shapes).append(found)  # type: ignore[arg-type]
    return shapes, problems


def _parse_line(
    words: list[str],
    number: int,
    names: Mapping[int, str] | None,
    size_px: tuple[int, int],
    where: str,
    has_key_points: bool,
) -> Shape | Problem:
    class_number, values = read_whole(words[0]), [read_number(word) for word in words[1:]]
    shares = [value for value in values if value is not None]
    is_polygon = len(values) >= 6 and len(values) % 2 == 0 and not has_key_points
    is_box = len(values) in (4, 5) or (has_key_points and len(values) > 5)
    if class_number is None or len(shares) < len(values) or not (is_polygon or is_box):
        return Problem("malformed", where, f"{show(' '.join(words))}; expected {_EXPECTED}")
    name = str(class_number) if names is None else names.get(class_number)
    if name is None:
        return Problem("unknown_class", where, f"class {class_number} has no name ({_known(names or {})})")
    places = shares if is_polygon else shares[:4]
    if max(places) > 1 + MAX_OVERSHOOT or min(places) < -MAX_OVERSHOOT:
        found = f"{show(' '.join(words))} has numbers outside 0 to 1: they are no shares of the image"
        return Problem("malformed", where, f"{found}; divide pixels by the image's width and height")
    if is_polygon:
        return _polygon(name, places, number, size_px)
    score = shares[4] if len(shares) == 5 and not has_key_points else None
    return Shape(name, _box(places, size_px), number, score=score)


def _known(names: Mapping[int, str]) -> str:
    is_gapless = list(names) == list(range(len(names)))
    return f"known: 0 to {len(names) - 1}" if is_gapless else f"known: {sorted(names)[:10]}"


def _box(places: list[float], size_px: tuple[int, int]) -> tuple[float, float, float, float]:
    (height, width), (x, y, w, h) = size_px, places
    return (y - h / 2) * height, (x - w / 2) * width, (y + h / 2) * height, (x + w / 2) * width


def _polygon(name: str, places: list[float], number: int, size_px: tuple[int, int]) -> Shape:
    height, width = size_px
    ring: Ring = tuple(place * (height if axis % 2 else width) for axis, place in enumerate(places))
    return Shape(name, bounds(ring), number, outline=(ring,), area=polygon_area(ring))


def write_line(class_number: int, shape: Shape, size_px: tuple[int, int]) -> str:
    """Write a shape's box as a line, with the score where it has one; the inverse of `parse_lines`.

    Numbers have all digits of a float, so that reading them gives the box to within float64's rounding.
    """
    (height, width), (low_y, low_x, high_y, high_x) = size_px, shape.yxyx
    x, y = (low_x + high_x) / 2 / width, (low_y + high_y) / 2 / height
    values = [x, y, (high_x - low_x) / width, (high_y - low_y) / height]
    values += [] if shape.score is None else [shape.score]
    return " ".join([str(class_number), *map(repr, values)])


_EXPECTED = "class cx cy w h (a sixth number is a score), or class x1 y1 x2 y2 x3 y3 ... of a polygon"
