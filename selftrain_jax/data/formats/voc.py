"""Pascal VOC's XML, one file an image; call `parse_annotation`, or `parse_object` for one <object>.

VOC counts pixels from 1 and both corners belong to the box: (xmin, ymin, xmax, ymax) becomes
(xmin - 1, ymin - 1, xmax, ymax). CVAT writes corners from 0, half-open: `is_one_based` is False.
"""

from collections import Counter

from selftrain_jax.data.formats.shapes import ImageLabels, Parsed, Shape, read_number, read_whole
from selftrain_jax.data.source import Problem
from selftrain_jax.data.sources.xml_tree import Element

SIDES = ("ymin", "xmin", "ymax", "xmax")


def parse_annotation(tree: Element, where: str, *, is_one_based: bool = True) -> Parsed:
    """Return the file's image with its shapes, and the faults of its objects."""
    parsed = Parsed([], [], Counter())
    name = tree.find_text("filename") or ""
    shapes: list[Shape] = []
    for item in objects(tree):
        for found in parse_object(item, where, name, is_one_based=is_one_based):
            (parsed.problems if isinstance(found, Problem) else shapes).append(found)  # type: ignore[arg-type]
    height, width = (read_whole(tree.find_text(f"size/{side}")) or 0 for side in ("height", "width"))
    size = (height, width) if min(height, width) > 0 else None
    parsed.images.append(ImageLabels(name, tuple(shapes), size, f"{where}:{{}}"))
    return parsed


def objects(tree: Element) -> list[Element]:
    """Return the <object> elements."""
    return [child for child in tree.children if child.tag == "object"]


def parse_object(
    item: Element, where: str, image: str, *, is_one_based: bool = True
) -> list[Shape | Problem]:
    """Return a shape for each <bndbox> of an object (some tools write several), or what is wrong with it.

    Corners that coincide stay so, for the check to find a box without area. `difficult` objects are crowds.
    """
    name = item.find_text("name")
    if not name:
        return [Problem("malformed", f"{where}:{item.line}", f"image {image}: an object without a <name>")]
    is_crowd = read_whole(item.find_text("difficult")) == 1
    boxes = [child for child in item.children if child.tag == "bndbox"] or [Element("bndbox", item.line)]
    found: list[Shape | Problem] = []
    for number, box in enumerate(boxes):
        line = box.line if number else item.line
        texts = [box.find_text(side) for side in SIDES]
        try:
            ymin, xmin, ymax, xmax = (float(text or "absent") for text in texts)
        except ValueError:
            message = f"image {image}: <bndbox> holds {', '.join(SIDES)} = {texts}; expected four numbers"
            found.append(Problem("malformed", f"{where}:{line}", message))
            continue
        low_y, low_x = ymin - (is_one_based and ymax > ymin), xmin - (is_one_based and xmax > xmin)
        score = read_number(item.find_text("score") or item.find_text("confidence"))
        found.append(Shape(name, (low_y, low_x, ymax, xmax), line, is_crowd=is_crowd, score=score))
    return found
