"""The boxes of a whole split as columns, so that 860,000 boxes are five arrays.

Call `make_table`, then `table_example` for one image.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from selftrain_jax.data.formats.shapes import Outline
from selftrain_jax.data.problems import check_boxes, describe_fault
from selftrain_jax.data.source import Problem
from selftrain_jax.geometry import box_areas
from selftrain_jax.types import Example


class Box(NamedTuple):
    """One annotation as read."""

    image: int  # index into image_ids
    yxyx: tuple[float, float, float, float]  # pixels, half-open
    class_id: int
    is_crowd: bool
    number: int  # of the record or line in the file
    area: float = np.nan  # px² of the object itself; NaN where unknown
    outline: Outline = ()  # only where a reader is asked for it


class LabelTable(NamedTuple):
    """Boxes sorted by image; those of image i are `starts[i]` to `starts[i + 1] - 1`."""

    image_ids: tuple[str, ...]
    starts: Int[np.ndarray, " images_plus_one"]
    boxes: Float[np.ndarray, "N 4"]
    classes: Int[np.ndarray, " N"]
    is_crowd: Bool[np.ndarray, " N"]
    areas: Float[np.ndarray, " N"]  # px² of the object itself; NaN where unknown


def make_table(
    annotations: Sequence[Box],
    image_ids: tuple[str, ...],
    sizes_px: Float[np.ndarray, "I 2"],
    where: Callable[[Box], str],
) -> tuple[LabelTable, list[Problem]]:
    """Sort by image, clip to the images, and report the bad boxes in place of keeping them."""
    annotations = sorted(annotations, key=lambda box: box.image)
    images = np.array([box.image for box in annotations], np.int64)
    raw = np.array([box.yxyx for box in annotations], np.float64).reshape(-1, 4)
    boxes, faults = check_boxes(raw, sizes_px[images])
    problems = [
        Problem(fault, where(box), describe_fault(fault, box.yxyx, image_ids[box.image]))
        for box, fault in zip(annotations, faults, strict=True)
        if fault
    ]
    problems += _find_shares(annotations, raw, sizes_px[images], where)
    good = np.array([not fault for fault in faults], bool)
    table = LabelTable(
        image_ids=image_ids,
        starts=np.searchsorted(images[good], np.arange(len(image_ids) + 1)),
        boxes=boxes[good],
        classes=np.array([box.class_id for box in annotations], np.int32)[good],
        is_crowd=np.array([box.is_crowd for box in annotations], bool)[good],
        areas=np.array([box.area for box in annotations], np.float32)[good],
    )
    return table, problems


def table_example(table: LabelTable, index: int) -> Example:
    """Return one image's labels, as copies.

    `areas` is absent where no object's area is known; where some are, the others get their box's.
    """
    boxes = slice(table.starts[index], table.starts[index + 1])
    labels: Example = {
        "image_id": table.image_ids[index],
        "boxes": table.boxes[boxes].copy(),
        "classes": table.classes[boxes].copy(),
        "is_crowd": table.is_crowd[boxes].copy(),
    }
    areas = table.areas[boxes]
    is_unknown = np.isnan(areas)
    if not is_unknown.all():
        labels["areas"] = np.where(is_unknown, box_areas(labels["boxes"]), areas)
    return labels


def _find_shares(
    annotations: Sequence[Box],
    raw: Float[np.ndarray, "N 4"],
    sizes_px: Float[np.ndarray, "N 2"],
    where: Callable[[Box], str],
) -> list[Problem]:
    """Say so where all boxes of a split are shares of the image, from 0 to 1, in place of pixels."""
    is_small = len(raw) > 0 and bool(np.all(np.abs(raw) <= 1) and np.all(sizes_px > 2))
    if not is_small or np.all(raw == np.round(raw)):
        return []
    message = (
        f"all {len(raw)} boxes lie between 0 and 1: they are normalized, shares of the image's width and "
        "height; expected pixels. Multiply x by the width and y by the height"
    )
    return [Problem("normalized", where(annotations[0]), message)]
