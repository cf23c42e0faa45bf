"""CVAT's XML 1.1 for images; call `write_cvat` and `read_cvat`.

Reference: https://docs.cvat.ai/docs/manual/advanced/xml_format
"""

import pathlib
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from selftrain_jax.data.sources.xml_tree import Element, parse_xml
from selftrain_jax.errors import InputError
from selftrain_jax.io import atomic_write
from selftrain_jax.run_files.review import Review, SentBox, SentImage
from selftrain_jax.tasks.detection.review.formats.returned import (
    RawBox,
    ReturnedImage,
    read_index,
    read_numbers,
)

FILE = "annotations.xml"
ATTRIBUTES = ("record", "score")  # of every box; CVAT keeps those that the task's labels declare


def write_cvat(review: Review, folder: pathlib.Path) -> None:
    """Write annotations.xml: images by file name, boxes with the attributes record and score."""
    names = dict(review.categories)
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "  <version>1.1</version>"]
    lines += ["  <meta>", "    <task>", "      <labels>", *map(_label, names.values())]
    lines += ["      </labels>", "    </task>", "  </meta>"]
    for number, image in enumerate(review.images):
        lines += _image(number, image, names)
    with atomic_write(folder / FILE) as file:
        file.write("\n".join([*lines, "</annotations>", ""]))


def _label(name: str) -> str:
    attributes = "".join(
        f"<attribute><name>{attribute}</name><mutable>False</mutable><input_type>text</input_type>"
        "<default_value></default_value><values></values></attribute>"
        for attribute in ATTRIBUTES
    )
    return f"        <label><name>{escape(name)}</name><attributes>{attributes}</attributes></label>"


def _image(number: int, image: SentImage, names: dict[int, str]) -> list[str]:
    height, width = image.size_px
    start = f'  <image id="{number}" name={quoteattr(image.name)} width="{width}" height="{height}">'
    return [start, *(_box(box, names[box.class_id]) for box in image.boxes), "  </image>"]


def _box(box: SentBox, name: str) -> str:
    ymin, xmin, ymax, xmax = box.box
    return (
        f'    <box label={quoteattr(name)} source="auto" occluded="0" xtl="{xmin}" ytl="{ymin}" xbr="{xmax}" '
        f'ybr="{ymax}" z_order="0"><attribute name="record">{box.index}</attribute>'
        f'<attribute name="score">{box.score}</attribute></box>'
    )


def is_cvat(root: Element) -> bool:
    """Tell whether an XML document is CVAT's for images."""
    return root.tag == "annotations" and all(
        child.tag in ("version", "meta", "image") for child in root.children
    )


def read_cvat(path: pathlib.Path) -> list[ReturnedImage]:
    """Read the boxes of all images; other shapes are not read.

    Raises:
        InputError: a box lacks a label or a side, is turned, or an image has other shapes.
    """
    root = parse_xml(path)
    by = next(
        filter(None, (root.find_text(f"meta/{at}/owner/username") for at in ("task", "job", "project"))), ""
    )
    at = root.find_text("meta/dumped") or ""
    return [_read_image(child, path, by, at) for child in root.children if child.tag == "image"]


def _read_image(element: Element, path: pathlib.Path, by: str, at: str) -> ReturnedImage:
    where = f"{path}:{element.line}"
    name = element.attributes.get("name", "")
    shapes = [child for child in element.children if child.tag != "tag"]
    if others := sorted({child.tag for child in shapes if child.tag != "box"}):
        raise InputError(
            f"{where}: image {name!r} has {', '.join(others)}; expected boxes alone: draw rectangles"
        )
    boxes = tuple(_read_box(child, f"{path}:{child.line}") for child in shapes)
    sides = [element.attributes.get(side, "") for side in ("height", "width")]
    size = (int(sides[0]), int(sides[1])) if all(side.isdecimal() for side in sides) else None
    return ReturnedImage((name,), boxes, where, size_px=size, by=by, at=at)


def _read_box(element: Element, where: str) -> RawBox:
    values = [element.attributes.get(side) for side in ("ytl", "xtl", "ybr", "xbr")]
    box = read_numbers(values, 4, where, "ytl, xtl, ybr, xbr")
    turn = element.attributes.get("rotation", "0")
    if np.any(read_numbers([turn], 1, where, "rotation")):
        raise InputError(f"{where}: the box is turned by {turn} degrees; boxes here are upright")
    records = [
        child.text.strip()
        for child in element.children
        if child.tag == "attribute" and child.attributes.get("name") == "record"
    ]
    index = read_index(records[0]) if records else None
    return RawBox(box, element.attributes.get("label", ""), index, where)
