"""Boxes to look at: pseudo labels, the augmentations S1 to S4, and the test images, the most telling first.

Each function gives galleries of rows; the pictures of a row belong together.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from selftrain_jax.data.source import Source
from selftrain_jax.geometry import box_iou
from selftrain_jax.html.draw import class_color, draw_boxes, fit_image
from selftrain_jax.html.galleries import (
    LONGEST_PX,
    Gallery,
    Picture,
    chosen_galleries,
    pair_galleries,
    spread,
)
from selftrain_jax.html.plots import shorten
from selftrain_jax.types import Example

IMAGES_A_GALLERY = 6
MAX_NAMED_BOXES = 12  # with more boxes in an image only their scores are written
STAGES_SHOWN = ("teacher", "student")

Detections = Mapping[str, Mapping[str, Example]]  # by stage, then by image id
MAX_IMAGES_RANKED = 2000  # evenly spread over the source; reading more would take longer than it is worth


class Labelled(NamedTuple):
    """An image of a source by its position there, with its labels (no pixels)."""

    position: int
    example: Example


class BoxStyle(NamedTuple):
    """How labels are drawn: class names by id, the score from which a box counts, the size of its text."""

    names: Mapping[int, str]
    threshold: float
    font_px: int = 12  # 0: no text


def draw_example(example: Example, style: BoxStyle, caption: str) -> Picture:
    """Draw labels solid, and dashed what is ignored or scored from half the threshold up to it."""
    scores = example.get("scores")
    is_shown = np.ones(len(boxes_of(example)), bool) if scores is None else scores >= style.threshold / 2
    kept = is_kept(example, style.threshold)[is_shown]
    classes = [int(class_id) for class_id in classes_of(example)[is_shown]]
    image, boxes = fit_image(example["image"], boxes_of(example)[is_shown], LONGEST_PX)
    texts = _box_texts(classes, None if scores is None else scores[is_shown], kept, style)
    colors = [class_color(class_id) for class_id in classes]
    drawn = draw_boxes(image, boxes, texts, colors, dashed=(~kept).tolist(), font_px=max(style.font_px, 1))
    return Picture(drawn, caption, f"{caption}: {_counts(np.asarray(classes)[kept], style.names)}")


def augmentation_galleries(
    augmented: Mapping[str, list[tuple[Example, Example]]], names: Mapping[int, str]
) -> list[Gallery]:
    """Show images before and after each policy. Paper: section 3.1, Figure 1."""
    style = BoxStyle(names, 0.0, font_px=0)
    caption = "Boxes must still sit on their objects after the change."
    return pair_galleries(augmented, caption, lambda example, word: draw_example(example, style, word))


def label_galleries(
    source: Source, labelled: list[Labelled], truth: Callable[[str], Example] | None, style: BoxStyle
) -> list[Gallery]:
    """Show pseudo labels: random, most and least confident, rarest class, and wrong if `truth` is known."""
    ranked = by_confidence(labelled, style.threshold)
    order = np.random.default_rng((0, len(labelled))).permutation(len(labelled))
    fair = "The fair picture: what the student sees on average."
    choices = [
        ("At random", fair, [labelled[position] for position in order]),
        ("Most confident", "Highest mean score. Should be right nearly always.", ranked),
        ("Least confident", "Lowest mean score. Often crowded, dark or unusual images.", ranked[::-1]),
        *_rarest(labelled, ranked, style),
    ]
    galleries = chosen_galleries(
        choices, "tiles", lambda image: [_pseudo(source, image, style)], IMAGES_A_GALLERY
    )
    return galleries if truth is None else [*galleries, *_against_truth(source, labelled, truth, style)]


def test_galleries(source: Source, detections: Detections, style: BoxStyle) -> list[Gallery]:
    """Show test images evenly through the split, truth beside what teacher and student detect."""
    rows = [_test_row(source, index, detections, style) for index in spread(len(source), IMAGES_A_GALLERY)]
    caption = "Evenly spread through the split, not chosen by result. "
    caption += f"Detections from score {style.threshold:g} on; dashed: down to half of it."
    return [Gallery("Truth beside detections", caption, "rows", rows)] if rows else []


def disagreement_galleries(source: Source, detections: Detections, style: BoxStyle) -> list[Gallery]:
    """Show the test images on which teacher and student differ most."""
    if not set(STAGES_SHOWN) <= set(detections):
        return []
    sides = [[detections[stage].get(image_id, {}) for stage in STAGES_SHOWN] for image_id in source.image_ids]
    counts = np.array([count_disagreements(teacher, student, style.threshold) for teacher, student in sides])
    most = np.argsort(-counts, kind="stable")[:IMAGES_A_GALLERY]
    rows = [_test_row(source, int(index), detections, style) for index in most if counts[index] > 0]
    caption = "Chosen because they differ most: this is what the pseudo labels taught, good or bad."
    return [Gallery("Where teacher and student disagree", caption, "rows", rows)] if rows else []


def _rarest(
    labelled: list[Labelled], ranked: list[Labelled], style: BoxStyle
) -> list[tuple[str, str, list[Labelled]]]:
    rare = rarest_class(labelled, style.threshold)
    if rare is None:
        return []
    having = [image for image in ranked if rare in kept_classes(image, style.threshold)]
    caption = "Fewest pseudo labels: the first to suffer from a wrong threshold."
    return [(f"Rarest class: {style.names.get(rare, str(rare))}", caption, having)]


def _against_truth(
    source: Source, labelled: list[Labelled], truth: Callable[[str], Example], style: BoxStyle
) -> list[Gallery]:
    counted = [
        (count_disagreements(image.example, true, style.threshold), image, true)
        for image in labelled
        if "boxes" in (true := truth(source.image_ids[image.position]))
    ]
    worst = sorted((entry for entry in counted if entry[0]), key=lambda entry: -entry[0])
    rows = [_truth_row(source, count, image, true, style) for count, image, true in worst[:IMAGES_A_GALLERY]]
    caption = "Worst first. "
    caption += "A disagreement is a box without a partner of its class at IoU 0.5 on the other side."
    return [Gallery("Most at odds with the truth", caption, "rows", rows)] if rows else []


def _truth_row(source: Source, count: int, image: Labelled, true: Example, style: BoxStyle) -> list[Picture]:
    truth: Example = {**true, "image": source.read_image(image.position)}
    disagreements = f"pseudo labels, {count} disagreement{'s' if count > 1 else ''}"
    return [
        draw_example(truth, style._replace(threshold=0.0), f"{source.image_ids[image.position]}, truth"),
        _pseudo(source, image, style, disagreements),
    ]


def _pseudo(source: Source, image: Labelled, style: BoxStyle, caption: str | None = None) -> Picture:
    example: Example = {**image.example, "image": source.read_image(image.position)}
    return draw_example(example, style, caption or source.image_ids[image.position])


def _test_row(source: Source, index: int, detections: Detections, style: BoxStyle) -> list[Picture]:
    example, image_id = source.read(index), source.image_ids[index]
    row = [draw_example(example, style._replace(threshold=0.0), f"{image_id}, truth")]
    for stage in STAGES_SHOWN:
        if stage in detections:
            detected: Example = {**detections[stage].get(image_id, {}), "image": example["image"]}
            row.append(draw_example(detected, style, stage))
    return row


def _box_texts(
    classes: Sequence[int], scores: np.ndarray | None, kept: np.ndarray, style: BoxStyle
) -> list[str]:
    texts = [""] * len(classes)
    for slot in map(int, np.flatnonzero(kept)) if style.font_px else []:
        name = shorten(style.names.get(classes[slot], str(classes[slot])), 14)
        score = "" if scores is None else f"{scores[slot]:.2f}"
        texts[slot] = f"{name if kept.sum() <= MAX_NAMED_BOXES else ''} {score}".strip()
    return texts


def _counts(classes: np.ndarray, names: Mapping[int, str]) -> str:
    ids, counts = np.unique(classes, return_counts=True)
    parts = [f"{count} {names.get(int(one), str(one))}" for one, count in zip(ids, counts, strict=True)]
    return ", ".join(parts) or "no boxes"


def read_spread(read_labels: Callable[[int], Example], length: int) -> list[Labelled]:
    """Read the labels of at most MAX_IMAGES_RANKED images."""
    return [Labelled(index, read_labels(index)) for index in spread(length, MAX_IMAGES_RANKED)]


def boxes_of(example: Example) -> Float[np.ndarray, "N 4"]:
    """Give the boxes, none where the example has no such key."""
    return np.asarray(example.get("boxes", np.zeros((0, 4))), dtype=np.float32).reshape(-1, 4)


def classes_of(example: Example) -> Int[np.ndarray, " N"]:
    """Give the class ids, none where the example has no such key."""
    return np.asarray(example.get("classes", np.zeros(0)), dtype=np.int64)


def is_kept(example: Example, threshold: float) -> Bool[np.ndarray, " N"]:
    """Say which boxes count as labels: score at the threshold or above, no crowd, not to be ignored."""
    count = len(boxes_of(example))
    kept = np.asarray(example.get("scores", np.ones(count))) >= threshold
    for key in ("is_crowd", "is_ignore"):
        kept = kept & ~np.asarray(example.get(key, np.zeros(count, dtype=bool)))
    return kept


def kept_classes(image: Labelled, threshold: float) -> Int[np.ndarray, " N"]:
    """Give the class ids of the boxes that count as labels."""
    return classes_of(image.example)[is_kept(image.example, threshold)]


def confidence(example: Example, threshold: float) -> float:
    """Average the scores of the labels; NaN without any."""
    scores = np.asarray(example.get("scores", []))[is_kept(example, threshold)]
    return float(scores.mean()) if len(scores) else float("nan")


def by_confidence(labelled: Sequence[Labelled], threshold: float) -> list[Labelled]:
    """Sort the images with at least one label, most confident first."""
    scored = [(confidence(image.example, threshold), image) for image in labelled]
    return [image for score, image in sorted((s for s in scored if s[0] == s[0]), key=lambda pair: -pair[0])]


def rarest_class(labelled: Sequence[Labelled], threshold: float) -> int | None:
    """Find the class with the fewest labels, of those with any."""
    kept = [kept_classes(image, threshold) for image in labelled]
    classes, counts = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *kept]), return_counts=True)
    return int(classes[np.argmin(counts)]) if len(classes) else None


def count_disagreements(first: Example, second: Example, threshold: float, iou: float = 0.5) -> int:
    """Count the labels of either side without a partner of the same class and IoU >= `iou` on the other.

    Each box has one partner at most; the pairs with the highest IoU go first.
    """
    kept = [is_kept(side, threshold) for side in (first, second)]
    boxes, others = boxes_of(first)[kept[0]], boxes_of(second)[kept[1]]
    classes, other_classes = classes_of(first)[kept[0]], classes_of(second)[kept[1]]
    overlap = np.where(classes[:, None] == other_classes[None, :], box_iou(boxes, others), 0.0)
    pairs = 0
    while overlap.size and overlap.max() >= iou:
        row, column = np.unravel_index(np.argmax(overlap), overlap.shape)
        overlap[row, :], overlap[:, column] = 0.0, 0.0
        pairs += 1
    return len(boxes) + len(others) - 2 * pairs
