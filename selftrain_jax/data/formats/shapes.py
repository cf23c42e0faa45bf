"""What every annotation format holds: the shapes of an image, as pure values.

A format's parser returns `Parsed`; `scale_points`, `bounds` and `polygon_area` are for the parsers.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from selftrain_jax.data.source import Problem
from selftrain_jax.io import show

Yxyx = tuple[float, float, float, float]
Ring = tuple[float, ...]  # x, y, x, y, ... of a polygon's corners, in pixels
Outline = tuple[Ring, ...] | Mapping[str, object]
"""Polygons whose union is the object, or COCO's run lengths (counts, size); () where only a box is known."""


class Shape(NamedTuple):
    """One object of an image as it was read."""

    name: str  # of its class
    yxyx: Yxyx  # pixels, half-open
    number: int  # of the line or record, for messages
    outline: Outline = ()
    is_crowd: bool = False
    area: float = math.nan  # px² of the object itself; NaN where unknown
    score: float | None = None  # of predictions
    shape_id: str = ""  # the tool's own id; "" where there is none


class ImageLabels(NamedTuple):
    """The shapes of one image, by the name that the document gives it."""

    name: str
    shapes: tuple[Shape, ...]
    size_px: tuple[int, int] | None  # (height, width) as stated
    spot: str  # where a shape is, for messages; {} stands for its number
    image_id: str = ""  # the document's own id; "" where there is none


class Parsed(NamedTuple):
    """What a document holds: images with shapes, faults, and how much of what was left out, in words."""

    images: list[ImageLabels]
    problems: list[Problem]
    left_out: Counter[str]


def bounds(ring: Sequence[float]) -> Yxyx:
    """Return the upright box around x, y, x, y, ...; NaN stays NaN."""
    xs, ys = ring[0::2], ring[1::2]
    if not all(map(math.isfinite, ring)):
        return (math.nan,) * 4
    return min(ys), min(xs), max(ys), max(xs)


def bounds_of_all(rings: Sequence[Ring]) -> Yxyx:
    """Return the upright box around several polygons."""
    boxes = [bounds(ring) for ring in rings]
    low_y, low_x, high_y, high_x = zip(*boxes, strict=True)
    return min(low_y), min(low_x), max(high_y), max(high_x)


def polygon_area(ring: Ring) -> float:
    """Return the area inside a polygon by the shoelace formula, whatever its direction."""
    xs, ys = ring[0::2], ring[1::2]
    pairs = range(len(xs))
    return abs(sum(xs[i - 1] * ys[i] - xs[i] * ys[i - 1] for i in pairs)) / 2


def corners(yxyx: Yxyx) -> Ring:
    """Return a box as a polygon, clockwise from the top left."""
    low_y, low_x, high_y, high_x = yxyx
    return low_x, low_y, high_x, low_y, high_x, high_y, low_x, high_y


def ellipse(centre_x: float, centre_y: float, radius_x: float, radius_y: float) -> Ring:
    """Return an upright ellipse as a polygon of 64 corners, the four outermost points among them."""
    angles = [2 * math.pi * step / 64 for step in range(64)]
    points = ((centre_x + radius_x * math.cos(a), centre_y + radius_y * math.sin(a)) for a in angles)
    return tuple(value for point in points for value in point)


def rotate(ring: Ring, degrees: float, pivot: tuple[float, float]) -> Ring:
    """Turn a polygon clockwise (the y axis points down) about a point (x, y)."""
    if degrees % 360 == 0:
        return ring
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x0, y0 = pivot
    points = zip(ring[0::2], ring[1::2], strict=True)
    turned = [(x0 + (x - x0) * cos - (y - y0) * sin, y0 + (x - x0) * sin + (y - y0) * cos) for x, y in points]
    return tuple(value for point in turned for value in point)


def read_number(value: object) -> float | None:
    """Return a number that a document holds as a number or as text; None for anything else, NaN included."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def read_whole(value: object) -> int | None:
    """Return a whole number that may be written as 640, 640.0 or "640"; None for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lstrip("-").isdecimal() and len(value) <= 20:
        return int(value)
    number = read_number(value) if not isinstance(value, str) or len(value) <= 40 else None
    return int(number) if number is not None and number == int(number) else None


def malformed(where: str, found: object, expected: str) -> Problem:
    """Describe a part of a document that is not as the format says."""
    keys = f"keys {', '.join(map(show, list(found)[:10]))}" if isinstance(found, dict) else show(found)
    return Problem("malformed", where, f"expected {expected}; got {keys}")
