"""What became of the boxes of an image that went out and came back; call `compare_image`.

Pure functions: `returned.py` has read the tool's file before, `apply.py` gives the result to the student.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from selftrain_jax.geometry import box_iou
from selftrain_jax.run_files.corrections import Outcome, ReviewedBox
from selftrain_jax.run_files.review import SentBox

KEPT_PX = 0.5  # a side that moved by no more has not been touched: tools round
MATCH_IOU = 0.5  # boxes without an id that overlap less are a removed and an added one


class ReturnedBox(NamedTuple):
    """A box as a tool gives it back, its class found by name."""

    box: Float[np.ndarray, " 4"]  # yxyx pixels
    class_id: int
    record_index: int | None  # of the box that went out, where the tool keeps it


def compare_image(sent: Sequence[SentBox], returned: Sequence[ReturnedBox]) -> tuple[ReviewedBox, ...]:
    """Say of each box whether it was kept, moved, relabelled, removed or added.

    A box whose sides moved by at most `KEPT_PX` keeps the record's values. The boxes that went out come
    first, in their order, then those that were added.
    """
    pairs = match_boxes(sent, returned)
    reviewed = [
        _judge(box, returned[pairs[number]] if number in pairs else None) for number, box in enumerate(sent)
    ]
    matched = set(pairs.values())
    added = [
        ReviewedBox(outcome="added", box=_as_floats(found.box), class_id=found.class_id)
        for number, found in enumerate(returned)
        if number not in matched
    ]
    return (*reviewed, *added)


def _judge(sent: SentBox, found: ReturnedBox | None) -> ReviewedBox:
    outcome: Outcome
    if found is None:
        outcome, box, class_id = "removed", sent.box, sent.class_id
    else:
        is_same_place = np.abs(found.box - np.array(sent.box)).max() <= KEPT_PX
        is_same_class = found.class_id == sent.class_id
        outcome = "relabelled" if not is_same_class else "kept" if is_same_place else "moved"
        box, class_id = sent.box if is_same_place else _as_floats(found.box), found.class_id
    return ReviewedBox(
        outcome=outcome,
        box=box,
        class_id=class_id,
        index=sent.index,
        teacher_class=sent.class_id,
        score=sent.score,
    )


def match_boxes(sent: Sequence[SentBox], returned: Sequence[ReturnedBox]) -> Mapping[int, int]:
    """Pair boxes one to one, by number: first by the id that a tool kept, then by the best IoU.

    An id that came back twice, as of a copied box, goes to the copy that overlaps most. Of equal overlaps
    boxes of one class are paired first.
    """
    if not sent or not returned:
        return {}
    overlaps = box_iou(np.array([box.box for box in sent]), np.stack([found.box for found in returned]))
    numbers = {box.index: number for number, box in enumerate(sent)}
    by_id = [
        (numbers[found.record_index], number)
        for number, found in enumerate(returned)
        if found.record_index in numbers
    ]
    by_place = np.argwhere(overlaps >= MATCH_IOU).tolist()

    def rank(pair: Sequence[int]) -> tuple[float, bool, int, int]:
        first, second = pair
        is_other = sent[first].class_id != returned[second].class_id
        return (-round(float(overlaps[first, second]), 3), is_other, first, second)

    pairs: dict[int, int] = {}
    for first, second in (*sorted(by_id, key=rank), *sorted(by_place, key=rank)):
        if first not in pairs and second not in pairs.values():
            pairs[first] = second
    return pairs


def is_changed(boxes: Sequence[ReviewedBox]) -> bool:
    """Tell whether a person changed anything."""
    return any(box.outcome != "kept" for box in boxes)


def _as_floats(box: Float[np.ndarray, " 4"]) -> tuple[float, float, float, float]:
    """Round to float32, which records hold."""
    ymin, xmin, ymax, xmax = (float(np.float32(side)) for side in box)
    return ymin, xmin, ymax, xmax
