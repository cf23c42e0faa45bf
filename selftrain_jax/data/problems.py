"""What can be wrong with a data set, and how the user is told.

The readers find problems with the same functions as the doctor; `report_problems` raises them as an
error, or with `bad_boxes="drop"` warns where only boxes are bad.
"""

import difflib
import logging
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from selftrain_jax.data.source import Problem
from selftrain_jax.errors import InputError

BadBoxes = Literal["error", "drop"]
BOX_KINDS = ("nan", "zero_area", "outside")
_MEANING = {
    "nan": "has a coordinate that is not a finite number",
    "zero_area": "has no area",
    "outside": "lies outside the image",
}


def check_boxes(
    boxes: Float[np.ndarray, "N 4"], sizes_px: Float[np.ndarray, "N 2"]
) -> tuple[Float[np.ndarray, "N 4"], list[str]]:
    """Clip yxyx boxes to their images (height, width) and name the fault of each, "" for none.

    A box partly outside keeps the part inside. In float32, as in training.
    """
    with np.errstate(over="ignore"):
        boxes = boxes.astype(np.float32)
    limits = np.tile(sizes_px, 2).astype(np.float32)
    clipped = np.clip(boxes, 0, limits)
    faults = np.select(
        [~np.isfinite(boxes).all(axis=1), ~_has_area(boxes), ~_has_area(clipped)],
        ["nan", "zero_area", "outside"],
        default="",
    )
    return clipped, faults.tolist()


def describe_fault(fault: str, box: Iterable[float], image_id: str) -> str:
    """Describe a fault of `check_boxes`."""
    values = ", ".join(f"{float(value):g}" for value in box)
    return f"image {image_id}: the box (ymin, xmin, ymax, xmax) = ({values}) {_MEANING[fault]}"


def report_problems(problems: Sequence[Problem], name: str, bad_boxes: BadBoxes) -> None:
    """Stop at problems, or only warn about the boxes that the reader drops.

    Raises:
        InputError: the first 5 problems and their number.
    """
    if bad_boxes not in ("error", "drop"):
        raise InputError(f'bad_boxes is {bad_boxes!r}; expected "error" or "drop".')
    droppable = BOX_KINDS if bad_boxes == "drop" else ()
    dropped = [problem for problem in problems if problem.kind in droppable]
    fatal = [problem for problem in problems if problem.kind not in droppable]
    if dropped:
        logging.getLogger(__name__).warning("%s: dropped bad boxes: %s", name, summarise(dropped))
    if not fatal:
        return
    remedy = "Run with --job=doctor to see all of them"
    if all(problem.kind in BOX_KINDS for problem in fatal):
        remedy += ", fix them, or set --config.data.bad_boxes=drop to leave these boxes out"
    raise InputError(f"{name}: {summarise(fatal)}\n{remedy}.")


def check_bad_count(
    errors: Sequence[object], max_bad: int, what: str, limit: str = "(config.data.max_bad_images)"
) -> None:
    """Allow some bad images.

    Raises:
        InputError: there are more; the message names the `limit` and the first 5.
    """
    if len(errors) > max_bad:
        shown = "; ".join(map(str, errors[:5]))
        raise InputError(f"{len(errors)} {what}, allowed are {max_bad} {limit}: {shown}")


def summarise(problems: Sequence[Problem]) -> str:
    """List the first 5 problems under their number."""
    lines = [f"  {problem.where}: {problem.message} [{problem.kind}]" for problem in problems[:5]]
    more = [f"  and {len(problems) - 5} more"] if len(problems) > 5 else []
    return "\n".join([f"{len(problems)} problem{'s' if len(problems) > 1 else ''}", *lines, *more])


def nearest_names(name: str, names: Iterable[str]) -> str:
    """Name the classes that a misspelt one may have meant, for messages."""
    by_lower = {known.lower(): known for known in names}
    close = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)
    if close:
        return "nearest: " + ", ".join(by_lower[found] for found in close)
    known = sorted(by_lower.values())
    return f"known: {', '.join(known[:10])}{' ...' if len(known) > 10 else ''}"


def _has_area(boxes: Float[np.ndarray, "N 4"]) -> Bool[np.ndarray, " N"]:
    return np.all(boxes[:, :2] < boxes[:, 2:], axis=1)
