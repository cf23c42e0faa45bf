"""Where the boxes of VOC files begin and end, as the files have them; call `voc_corners`."""

import pathlib
from collections.abc import Iterator

from selftrain_jax.data.image_files import path_inside, read_file
from selftrain_jax.data.sources.xml_tree import Element, parse_xml
from selftrain_jax.doctor.corners import Corners, count_corners
from selftrain_jax.errors import InputError

_CORNERS = tuple(f"bndbox/{side}" for side in ("xmin", "ymin", "xmax", "ymax"))
_SIZE = ("size/width", "size/height")


def voc_corners(root: pathlib.Path, split: str) -> Corners:
    """Count the sides of a split's boxes on the borders; what the reader refuses is not counted."""
    try:
        listed = read_file(root / "ImageSets" / "Main" / f"{split}.txt").decode("utf-8-sig").split("\n")
    except (InputError, UnicodeDecodeError):
        return count_corners([])
    folder = (root / "Annotations").resolve()
    return count_corners(box for image_id in listed for box in _read_boxes(folder, image_id.strip()))


def _read_boxes(
    folder: pathlib.Path, image_id: str
) -> Iterator[tuple[float, float, float, float, float, float]]:
    path = path_inside(folder, f"{image_id}.xml") if image_id else None
    try:
        tree = parse_xml(path) if path is not None else None
    except InputError:
        return
    size = _numbers(tree, _SIZE) if tree is not None else None
    for item in tree.children if tree is not None and size is not None else []:
        corners = _numbers(item, _CORNERS) if item.tag == "object" else None
        if corners is not None and size is not None:
            yield (corners[0], corners[1], corners[2], corners[3], size[0], size[1])


def _numbers(element: Element, paths: tuple[str, ...]) -> list[float] | None:
    try:
        return [float(element.find_text(path) or "absent") for path in paths]
    except ValueError:
        return None
