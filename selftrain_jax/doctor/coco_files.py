"""What contradicts itself in COCO files, or was lost when they were exported; call `judge_coco_files`.

The reader takes such files, so that none of it is an error; records that it refuses are not looked at here.
"""

import math
import os
import pathlib
import shlex
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from selftrain_jax.data.image_files import read_file
from selftrain_jax.data.sources.image_folder import SUFFIXES
from selftrain_jax.doctor.corners import Corners, count_corners, judge_corners
from selftrain_jax.errors import InputError
from selftrain_jax.html.blocks import Finding
from selftrain_jax.io import parse_json
from selftrain_jax.text import shorten_list

AREA_SLACK = 1.05  # an area above its box's by more contradicts it; annotators round
MIN_AREA_PX = 16.0  # rounding decides the area of less


class CocoFile(NamedTuple):
    """An annotation file and the folder of its images."""

    annotations: pathlib.Path
    images: pathlib.Path


class Records(NamedTuple):
    """The lists of a file, without what is no object."""

    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: list[dict[str, Any]]


def judge_coco_files(
    files: Mapping[str, CocoFile],
    unlabelled: Collection[pathlib.Path] = (),
    *,
    drops_groups: bool = False,
) -> Iterator[Finding]:
    """Look at the files of all splits; `unlabelled` are the folders that are labelled by the teacher.

    `drops_groups`: the reader leaves out classes that only group others, and says so.
    """
    documents = {split: _read(file.annotations) for split, file in files.items()}
    records = {split: found for split, found in documents.items() if found is not None}
    for split, found in records.items():
        yield from _judge_phantoms(split, found, drops_groups)
        yield from _judge_gaps(split, found)
        yield from _judge_image_records(split, found)
        yield from _judge_areas(split, found)
        yield from judge_corners(split, _corners(found), counts_from=0)
    if len(records) == len(files):
        yield from _judge_unlisted(files, records, unlabelled)


def _read(path: pathlib.Path) -> Records | None:
    """Read the lists; None for what is no such file, which the reader says."""
    try:
        document = parse_json(read_file(path), str(path))
    except InputError:
        return None
    if not isinstance(document, dict):
        return None
    lists = (document.get(key) for key in Records._fields)
    return Records(
        *(
            [record for record in found if isinstance(record, dict)] if isinstance(found, list) else []
            for found in lists
        )
    )


def _judge_phantoms(split: str, records: Records, drops_groups: bool) -> Iterator[Finding]:
    """Find classes that stand for others, as id 0 of Roboflow's exports."""
    used = Counter(_key(record.get("category_id")) for record in records.annotations)
    parents = {
        str(record["supercategory"])
        for record in records.categories
        if record.get("supercategory") not in (None, "", "none")
    }
    for record in records.categories:
        name, class_id = record.get("name"), record.get("id")
        others = [other for other in records.categories if other is not record]
        is_parent = name in parents and any(other.get("supercategory") == name for other in others)
        is_phantom = not drops_groups if is_parent else class_id == 0 and others
        if used[_key(class_id)] or not is_phantom:
            continue
        why = "is the supercategory of others" if is_parent else "has id 0"
        remedy = ",".join(str(other.get("name")) for other in others)
        yield Finding(
            "warning",
            f"{split}: class {name!r} has no box and {why}, as the class of Roboflow's exports that is none",
            f"Leave it out by naming the others: --config.data.classes={shlex.quote(remedy)}",
        )


def _judge_gaps(split: str, records: Records) -> Iterator[Finding]:
    ids = sorted(record["id"] for record in records.categories if type(record.get("id")) is int)
    gaps = (ids[-1] - ids[0] + 1 - len(set(ids))) if ids else 0
    if gaps > 0:
        finding = f"{split}: class ids run from {ids[0]} to {ids[-1]} with {gaps} gaps"
        yield Finding("ok", f"{finding}: harmless, their outputs stay unused", "")


def _judge_image_records(split: str, records: Records) -> Iterator[Finding]:
    """Find files that two image records name, and records without any annotation."""
    names = Counter(record.get("file_name") for record in records.images)
    repeated = [str(name) for name, count in names.items() if count > 1]
    if repeated:
        yield Finding(
            "warning",
            f"{split}: {len(repeated):,} image files are listed under several ids: "
            f"{shorten_list(repeated, 3)}",
            "Give each file one id with all its labels: what one record lacks is taught as background.",
        )
    annotated = {_key(record.get("image_id")) for record in records.annotations}
    num_empty = sum(_key(record.get("id")) not in annotated for record in records.images)
    if num_empty:
        finding = f"{split}: {num_empty:,} of {len(records.images):,} images are listed without an object"
        yield Finding("ok", f"{finding}: they teach background", "")


def _judge_areas(split: str, records: Records) -> Iterator[Finding]:
    """Find areas above their box's, and outlines that leave their box."""
    large, outside = [], []
    for number, record in enumerate(records.annotations):
        box = _numbers(record.get("bbox"), 4)
        if box is None:
            continue
        area, of_box = record.get("area"), box[2] * box[3]
        if isinstance(area, int | float) and of_box > 0 and area > max(of_box, MIN_AREA_PX) * AREA_SLACK:
            large.append(f"annotations[{number}] (area {area:g}, box {box[2]:g} x {box[3]:g})")
        gap = _outline_gap(record.get("segmentation"), box)
        if gap > max(2.0, 0.05 * max(box[2], box[3])):
            outside.append(f"annotations[{number}] (by {gap:.0f} px)")
    total = len(records.annotations)
    remedy = "One of the two is wrong: look at these objects, and export the file again if all are so."
    if large:
        listed = shorten_list(large, 3)
        finding = f"{split}: {len(large):,} of {total:,} objects have an area above their box's: {listed}"
        yield Finding("warning", finding, remedy + " The area decides what AP counts as small and large.")
    if outside:
        listed = shorten_list(outside, 3)
        finding = f"{split}: {len(outside):,} of {total:,} outlines and boxes are apart: {listed}"
        yield Finding("warning", finding, remedy + " Boxes are trained on.")


def _outline_gap(segmentation: Any, box: list[float]) -> float:
    """Return by how many px the bounds of polygons and the box differ at most; 0 for what is no polygon."""
    if not isinstance(segmentation, list) or not segmentation:
        return 0.0
    polygons = [_numbers(polygon, None) for polygon in segmentation]
    if any(polygon is None or len(polygon) < 6 or len(polygon) % 2 for polygon in polygons):
        return 0.0
    xs = [value for polygon in polygons if polygon for value in polygon[0::2]]
    ys = [value for polygon in polygons if polygon for value in polygon[1::2]]
    x, y, width, height = box
    return max(abs(min(xs) - x), abs(min(ys) - y), abs(max(xs) - x - width), abs(max(ys) - y - height))


def _judge_unlisted(
    files: Mapping[str, CocoFile], records: Mapping[str, Records], unlabelled: Collection[pathlib.Path]
) -> Iterator[Finding]:
    """Count files in the image folders that no split lists, as images without objects that were left out."""
    for folder in dict.fromkeys(file.images for file in files.values()):
        if not folder.is_dir() or folder.resolve() in {path.resolve() for path in unlabelled}:
            continue
        splits = [split for split, file in files.items() if file.images == folder]
        listed = {
            os.path.normpath(str(record.get("file_name")))
            for split in splits
            for record in records[split].images
        }
        found = {
            path.relative_to(folder).as_posix()
            for path in folder.rglob("*")
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
        }
        left = sorted(found - listed)
        if left:
            yield Finding(
                "warning",
                f"{', '.join(splits)}: {len(left):,} of {len(found):,} image files in {folder} are in no "
                f"annotation file: {shorten_list(left, 3)}",
                "Exports leave out images without objects. Give empty ones a record in the file's list of "
                "images: they teach background. Or move them into the folder of unlabelled images.",
            )


def _corners(records: Records) -> Corners:
    """Count where boxes begin and end, in pixels as the file has them."""
    sizes = {_key(record.get("id")): (record.get("width"), record.get("height")) for record in records.images}
    boxes = []
    for record in records.annotations:
        box, size = _numbers(record.get("bbox"), 4), _numbers(sizes.get(_key(record.get("image_id"))), 2)
        if box and size:
            boxes.append((box[0], box[1], box[0] + box[2], box[1] + box[3], size[0], size[1]))
    return count_corners(boxes)


def _numbers(values: Any, length: int | None) -> list[float] | None:
    if not isinstance(values, list | tuple) or (length is not None and len(values) != length):
        return None
    is_number = all(isinstance(value, int | float) and math.isfinite(value) for value in values)
    return [float(value) for value in values] if is_number else None


def _key(value: Any) -> str:
    return str(value)
