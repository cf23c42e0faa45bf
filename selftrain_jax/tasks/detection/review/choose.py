"""Which images go out for review; call `choose_images`. Every order is a function of labels and seed."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from selftrain_jax.errors import InputError
from selftrain_jax.geometry import box_iou
from selftrain_jax.io import read_json, show
from selftrain_jax.run_files.review import SentBox
from selftrain_jax.text import shorten_list
from selftrain_jax.types import Example

ALL, LEAST_SURE, RAREST_CLASS = "all", "least_sure", "rarest_class"
DISAGREEMENTS, SELECTION, RANDOM = "disagreements", "selection", "random"
CHOICES = (ALL, LEAST_SURE, RAREST_CLASS, DISAGREEMENTS, SELECTION, RANDOM)
SAME_IOU = 0.5  # teacher and student agree on a box of one class that overlaps as much

Boxes = Sequence[SentBox]


def choose_images(order: Sequence[int], count: int, num_images: int) -> list[int]:
    """Take the first `count` of an order, 0 for all; return them in the order of the set.

    Raises:
        InputError: there are fewer.
    """
    if count < 0 or count > len(order):
        raise InputError(
            f"config.review.count={count}: {len(order)} of the {num_images} images can go out (those that "
            f"were reviewed before stay); give 1 to {len(order)}, or 0 for all of them"
        )
    return sorted(order[: count or None])


def order_by_uncertainty(images: Sequence[Boxes]) -> list[int]:
    """Put images of the lowest mean score first; those without a box come last."""
    means = [float(np.mean([box.score for box in boxes])) if boxes else np.inf for boxes in images]
    return sorted(range(len(images)), key=lambda index: means[index])


def order_by_rarity(images: Sequence[Boxes]) -> list[int]:
    """Put images of the class with the fewest boxes in the set first, of these those with most of them."""
    counts: dict[int, int] = {}
    for boxes in images:
        for box in boxes:
            counts[box.class_id] = counts.get(box.class_id, 0) + 1

    def rank(index: int) -> tuple[float, int]:
        if not images[index]:
            return np.inf, 0
        rarest = min(
            (box.class_id for box in images[index]), key=lambda class_id: (counts[class_id], class_id)
        )
        return float(counts[rarest]), -sum(box.class_id == rarest for box in images[index])

    return sorted(range(len(images)), key=rank)


def order_by_disagreement(images: Sequence[Boxes], student: Callable[[int], Example]) -> list[int]:
    """Put images with most boxes first that only one of teacher and student has; of equals the larger share.

    `student` gives an image's detections at the thresholds that made the teacher's boxes labels.
    """
    ranks = []
    for index, boxes in enumerate(images):
        found = student(index)
        num_both = count_agreements(boxes, found)
        num_all = len(boxes) + len(found["boxes"]) - num_both
        num_one = num_all - num_both
        ranks.append((-num_one, -num_one / max(num_all, 1)))
    return sorted(range(len(images)), key=lambda index: ranks[index])


def count_agreements(boxes: Boxes, found: Example) -> int:
    """Count the boxes of one class that teacher and student both have, one to one by the best IoU."""
    if not boxes or not len(found["boxes"]):
        return 0
    overlaps = box_iou(np.array([box.box for box in boxes]), found["boxes"].astype(np.float64))
    is_class = np.array([[box.class_id] for box in boxes]) == np.asarray(found["classes"])[None]
    overlaps = np.where(is_class, overlaps, 0.0)
    num_both = 0
    while overlaps.max(initial=0.0) >= SAME_IOU:
        row, column = np.unravel_index(int(overlaps.argmax()), overlaps.shape)
        overlaps[row], overlaps[:, column] = 0.0, 0.0
        num_both += 1
    return num_both


def order_at_random(num_images: int, seed: int) -> list[int]:
    """Shuffle; numpy keeps raw PCG64 output the same in all versions."""
    bits = np.random.PCG64(np.random.SeedSequence((seed, 19)))
    return np.argsort(bits.random_raw(num_images), kind="stable").tolist()


def read_selection(path: Path, image_ids: Sequence[str]) -> list[int]:
    """Find the images that a selection.json of --job=select names, in its order.

    Raises:
        InputError: it is missing or of another form, or names images that are not to go out.
    """
    remedy = "it is written by --job=select; name it by --config.review.selection=FILE"
    match read_json(path, remedy):
        case {"chosen": list(chosen)} if all(
            isinstance(entry, dict) and isinstance(entry.get("image_id"), str) for entry in chosen
        ):
            names = [entry["image_id"] for entry in chosen]
        case other:
            raise InputError(f'{path} holds {show(other)}; expected {{"chosen": [{{"image_id": "..."}}]}}')
    positions = {image_id: index for index, image_id in enumerate(image_ids)}
    if unknown := [name for name in names if name not in positions]:
        raise InputError(
            f"{path}: {len(unknown)} of its {len(names)} images are not among the {len(positions)} that can "
            f"go out: {shorten_list(unknown)}. They are another set's, or were reviewed before; select again."
        )
    return list(dict.fromkeys(positions[name] for name in names))
