"""Images to look at: the augmentations S1 to S4 (paper section 3.1), and results on the test split.

Each function gives galleries of rows; the pictures of a row belong together. For pseudo labels see
`label_galleries.py`.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from selftrain_jax.data.source import Source
from selftrain_jax.html.draw import class_color, draw_boxes, fit_image
from selftrain_jax.html.plots import shorten
from selftrain_jax.report.ranking import boxes_of, classes_of, count_disagreements, is_kept, spread
from selftrain_jax.types import Example

LONGEST_PX = 420
IMAGES_A_GALLERY = 6
MAX_PAIRS = 4  # of an augmentation
MAX_NAMED_BOXES = 12  # with more boxes in an image only their scores are written
STAGES_SHOWN = ("teacher", "student")

Found = Mapping[str, Mapping[str, Example]]  # detections by stage, then by image id


class Picture(NamedTuple):
    """An image ready to show, and what it shows."""

    image: UInt8[np.ndarray, "H W 3"]
    caption: str
    alt: str


class Gallery(NamedTuple):
    """Rows of pictures under a title, with what to look for."""

    title: str
    caption: str
    layout: str  # "tiles" (single pictures side by side), "pairs" (two pairs a line), "rows" (one row a line)
    rows: list[list[Picture]]


class Pen(NamedTuple):
    """How labels are drawn: class names by id, the score from which a box counts, the size of its text."""

    names: Mapping[int, str]
    threshold: float
    font_px: int = 12  # 0: no text


def draw_example(example: Example, pen: Pen, caption: str) -> Picture:
    """Draw labels solid, and dashed what is ignored or scored from half the threshold up to it."""
    scores = example.get("scores")
    shown = np.ones(len(boxes_of(example)), dtype=bool) if scores is None else scores >= pen.threshold / 2
    kept = is_kept(example, pen.threshold)[shown]
    classes = [int(class_id) for class_id in classes_of(example)[shown]]
    image, boxes = fit_image(example["image"], boxes_of(example)[shown], LONGEST_PX)
    texts = _box_texts(classes, None if scores is None else scores[shown], kept, pen)
    colors = [class_color(class_id) for class_id in classes]
    drawn = draw_boxes(image, boxes, texts, colors, dashed=(~kept).tolist(), font_px=max(pen.font_px, 1))
    return Picture(drawn, caption, f"{caption}: {_counts(np.asarray(classes)[kept], pen.names)}")


def augmentation_galleries(
    augmented: Mapping[str, list[tuple[Example, Example]]], names: Mapping[int, str]
) -> list[Gallery]:
    """Show images before and after each policy. Paper: section 3.1, Figure 1."""
    pen = Pen(names, 0.0, font_px=0)
    caption = "Boxes must still sit on their objects after the change."
    galleries = []
    for policy, pairs in augmented.items():
        rows = [
            [draw_example(before, pen, "before"), draw_example(after, pen, "after")]
            for before, after in pairs[:MAX_PAIRS]
        ]
        galleries += [Gallery(policy.upper(), caption, "pairs", rows)] if rows else []
    return galleries


def test_galleries(source: Source, found: Found, pen: Pen) -> list[Gallery]:
    """Show test images evenly through the split, truth beside what teacher and student detect."""
    rows = [_test_row(source, index, found, pen) for index in spread(len(source), IMAGES_A_GALLERY)]
    caption = "Evenly spread through the split, not chosen by result. "
    caption += f"Detections from score {pen.threshold:g} on; dashed: down to half of it."
    return [Gallery("Truth beside detections", caption, "rows", rows)] if rows else []


def disagreement_galleries(source: Source, found: Found, pen: Pen) -> list[Gallery]:
    """Show the test images on which teacher and student differ most."""
    if not set(STAGES_SHOWN) <= set(found):
        return []
    sides = [[found[stage].get(image_id, {}) for stage in STAGES_SHOWN] for image_id in source.image_ids]
    counts = np.array([count_disagreements(teacher, student, pen.threshold) for teacher, student in sides])
    most = [
        int(index) for index in np.argsort(-counts, kind="stable")[:IMAGES_A_GALLERY] if counts[index] > 0
    ]
    rows = [_test_row(source, index, found, pen) for index in most]
    caption = "Chosen because they differ most: this is what the pseudo labels taught, good or bad."
    return [Gallery("Where teacher and student disagree", caption, "rows", rows)] if rows else []


def _test_row(source: Source, index: int, found: Found, pen: Pen) -> list[Picture]:
    example, image_id = source.read(index), source.image_ids[index]
    row = [draw_example(example, pen._replace(threshold=0.0), f"{image_id}, truth")]
    for stage in STAGES_SHOWN:
        if stage in found:
            detected: Example = {**found[stage].get(image_id, {}), "image": example["image"]}
            row.append(draw_example(detected, pen, stage))
    return row


def _box_texts(classes: list[int], scores: np.ndarray | None, kept: np.ndarray, pen: Pen) -> list[str]:
    texts = [""] * len(classes)
    for slot in np.flatnonzero(kept) if pen.font_px else []:
        name = shorten(pen.names.get(classes[slot], str(classes[slot])), 14)
        score = "" if scores is None else f"{scores[slot]:.2f}"
        texts[slot] = f"{name if kept.sum() <= MAX_NAMED_BOXES else ''} {score}".strip()
    return texts


def _counts(classes: np.ndarray, names: Mapping[int, str]) -> str:
    found, counts = np.unique(classes, return_counts=True)
    parts = [
        f"{count} {names.get(int(class_id), str(class_id))}"
        for class_id, count in zip(found, counts, strict=True)
    ]
    return ", ".join(parts) if parts else "no boxes"
