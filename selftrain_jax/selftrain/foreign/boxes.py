"""One model's boxes as its file has them, whatever the format; what every format's scores must be.

`coco_results.py`, `yolo_txt.py` and `label_studio.py` make `ForeignBoxes`; `read_boxes.py` picks one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from selftrain_jax.errors import InputError


class ForeignBoxes(NamedTuple):
    """All boxes of a file or folder, in its order."""

    kind: str  # the format, for people
    images: tuple[str, ...]  # every image that is named, with or without a box
    image_of: np.ndarray  # [N], positions in `images`
    labels: tuple[str, ...]  # [N], the class as the file has it: an id as text, or a name
    boxes: Float[np.ndarray, "N 4"]  # yxyx
    is_frac: bool  # shares of the image's height and width; else pixels
    scores: Float[np.ndarray, " N"]
    names: Mapping[str, str]  # of labels, where the file says them
    place: Callable[[int], str]  # where a box stands, for messages
    model: str = ""  # as the file calls it
    notes: tuple[str, ...] = ()  # what was left out while reading


def make_boxes(
    kind: str,
    rows: Sequence[tuple[str, str, tuple[float, float, float, float], float]],
    images: Sequence[str],
    *,
    is_frac: bool,
    names: Mapping[str, str],
    place: Callable[[int], str],
    model: str = "",
    notes: tuple[str, ...] = (),
) -> ForeignBoxes:
    """Make columns of rows of image, label, yxyx box and score; `images` may name more.

    Raises:
        InputError: a score is not of 0 to 1.
    """
    named = tuple(dict.fromkeys([*images, *(row[0] for row in rows)]))
    position = {name: index for index, name in enumerate(named)}
    scores = np.array([row[3] for row in rows], np.float64)
    check_scores(scores, place)
    return ForeignBoxes(
        kind=kind,
        images=named,
        image_of=np.array([position[row[0]] for row in rows], np.int64),
        labels=tuple(row[1] for row in rows),
        boxes=np.array([row[2] for row in rows], np.float64).reshape(-1, 4),
        is_frac=is_frac,
        scores=scores,
        names=names,
        place=place,
        model=model,
        notes=notes,
    )


def check_scores(scores: Float[np.ndarray, " N"], place: Callable[[int], str]) -> None:
    """See that scores are shares. Raises: InputError: one is not finite, negative, or above 1."""
    wrong = ~((scores >= 0) & (scores <= 1))
    if not wrong.any():
        return
    index, highest = int(wrong.argmax()), float(np.nan_to_num(scores, nan=-1).max())
    found = f"{place(index)}: the score is {scores[index]:g}; {int(wrong.sum())} of {len(scores)} are so"
    if 1 < highest <= 100 and np.isfinite(scores).all() and (scores >= 0).all():
        raise InputError(f"{found}. The scores are in percent, up to {highest:g}: divide them by 100.")
    raise InputError(
        f"{found}. Expected probabilities of 0 to 1: take the model's scores after its sigmoid or softmax."
    )


def no_score(place: str, what: str) -> InputError:
    """Return the error for a prediction without a score; `what` says how the format holds one."""
    return InputError(
        f"{place}: a box without a score; {what}. Pseudo labels are chosen by their scores: a score of 1 for "
        "all would make every one of them a label, so none is assumed."
    )
