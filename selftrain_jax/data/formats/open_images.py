"""Open Images' CSV files: boxes as shares of the image, classes by machine id; call `parse_boxes`.

Reference: storage.googleapis.com/openimages/web/download_v7.html.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from selftrain_jax.data.formats.shapes import Shape, malformed, read_number
from selftrain_jax.data.source import Problem
from selftrain_jax.errors import InputError
from selftrain_jax.text import shorten_list

COLUMNS = ("ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax")


class BoxRow(NamedTuple):
    """A box as shares of its image, (ymin, xmin, ymax, xmax)."""

    image: str
    name: str
    yxyx_frac: tuple[float, float, float, float]
    is_group: bool
    score: float | None
    line: int


def parse_descriptions(lines: Iterable[str], where: str) -> dict[str, str]:
    """Return class names by machine id, "/m/01g317" -> "Person".

    Raises:
        InputError: a line has not two columns.
    """
    names: dict[str, str] = {}
    for number, row in enumerate(csv.reader(lines), 1):
        if len(row) != 2:
            raise InputError(f"{where}:{number}: {row!r:.200}; expected a machine id and a class name.")
        if row != ["LabelName", "DisplayName"]:
            names[row[0]] = row[1]
    return names


def parse_boxes(
    lines: Iterable[str], names: Mapping[str, str], where: str, images: Sequence[str] | frozenset[str]
) -> tuple[list[BoxRow], list[Problem], int]:
    """Return the boxes of `images` (ids), faults, and the number of rows of other images.

    Raises:
        InputError: a column is missing.
    """
    rows = csv.DictReader(lines)
    missing = [column for column in COLUMNS if column not in (rows.fieldnames or ())]
    if missing:
        raise InputError(f"{where}: the columns {shorten_list(missing)} are missing; expected {COLUMNS}.")
    wanted, others = frozenset(images), 0
    boxes: list[BoxRow] = []
    problems: list[Problem] = []
    for line, row in enumerate(rows, 2):
        if row["ImageID"] not in wanted:
            others += 1
            continue
        found = _read_row(row, names, line, f"{where}:{line}")
        if isinstance(found, Problem):
            problems.append(found)
        else:
            boxes.append(found)
    return boxes, problems, others


def to_shape(row: BoxRow, size_px: tuple[int, int]) -> Shape:
    """Turn shares into pixels of an image of (height, width); a group is a crowd."""
    height, width = size_px
    low_y, low_x, high_y, high_x = row.yxyx_frac
    yxyx = (low_y * height, low_x * width, high_y * height, high_x * width)
    return Shape(row.name, yxyx, row.line, is_crowd=row.is_group, score=row.score)


def _read_row(row: Mapping[str, str], names: Mapping[str, str], line: int, where: str) -> BoxRow | Problem:
    values = [read_number(row[column]) for column in ("YMin", "XMin", "YMax", "XMax")]
    shares = [value for value in values if value is not None]
    if len(shares) < 4 or max(shares) > 1.01 or min(shares) < -0.01:
        return malformed(where, list(row.values()), "XMin, XMax, YMin, YMax as shares from 0 to 1")
    class_id = row["LabelName"]
    name = names.get(class_id, class_id if class_id and not class_id.startswith("/") else "")
    if not name:
        return Problem("unknown_class", where, f"class {class_id!r} is not among the class descriptions")
    confidence = read_number(row.get("Confidence"))
    low_y, low_x, high_y, high_x = shares
    # Human boxes have the confidence 1.
    score = confidence if confidence not in (None, 1.0) else None
    is_group = (row.get("IsGroupOf") or "").strip() == "1"
    return BoxRow(row["ImageID"], name, (low_y, low_x, high_y, high_x), is_group, score, line)
