"""Tell by where boxes begin and end whether a file counts pixels from 0 or 1; call `judge_corners`.

A box over the whole width of an image w pixels wide is 0 to w where corners are edges of pixels (COCO), 1 to
w where pixels are counted from 1 and both belong to the box (VOC), 0 to w - 1 where they are counted from 0.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from selftrain_jax.html.blocks import Finding

MIN_SIDES = 3  # near a border, to say something


class Corners(NamedTuple):
    """How many sides of boxes lie on the borders of their images, as a file has them."""

    at_0: int  # xmin or ymin
    at_1: int
    at_last: int  # xmax or ymax at width - 1 or height - 1
    at_size: int
    beyond: int  # at width + 1 or height + 1


def count_corners(boxes: Iterable[tuple[float, float, float, float, float, float]]) -> Corners:
    """Count the sides of (xmin, ymin, xmax, ymax, image width, image height)."""
    at_0 = at_1 = at_last = at_size = beyond = 0
    for xmin, ymin, xmax, ymax, width, height in boxes:
        for low, high, size in ((xmin, xmax, width), (ymin, ymax, height)):
            at_0 += low == 0
            at_1 += low == 1
            at_last += high == size - 1
            at_size += high == size
            beyond += high == size + 1
    return Corners(at_0, at_1, at_last, at_size, beyond)


def judge_corners(split: str, found: Corners, *, counts_from: int) -> Iterator[Finding]:
    """Warn where the borders contradict the reader, which counts from 0 (COCO) or 1 (VOC)."""
    if counts_from == 1 and found.at_0:
        finding = (
            f"{split}: {found.at_0:,} sides of boxes lie at 0, but VOC counts pixels from 1: boxes are read"
        )
        remedy = "Add 1 to xmin and ymin of every object, as VOC has them, or export as COCO."
        yield Finding("warning", f"{finding} 1 px too far left and up", remedy)
    elif counts_from == 0 and found.beyond and not found.at_0 and found.at_1:
        finding = (
            f"{split}: {found.beyond:,} sides of boxes lie 1 px beyond their image, {found.at_1:,} at 1 and"
        )
        remedy = "Subtract 1 from x and y of every bbox: COCO counts from 0."
        yield Finding("warning", f"{finding} none at 0: pixels seem to be counted from 1", remedy)
    elif counts_from == 0 and min(found.at_last, found.at_0) >= MIN_SIDES and not found.at_size:
        finding = (
            f"{split}: {found.at_0:,} sides of boxes lie at 0, {found.at_last:,} 1 px before the far border"
        )
        remedy = "Add 1 to width and height of every bbox, where they are differences of outermost pixels."
        yield Finding("warning", f"{finding} and none on it: boxes seem to be 1 px too small", remedy)
