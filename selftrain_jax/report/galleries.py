"""Images to look at: pseudo labels, the augmentations S1 to S4 (paper section 3.1), and test results.

Each function gives galleries of rows; the pictures of a row belong together.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from selftrain_jax.data.source import Source
from selftrain_jax.report.draw import class_color, draw_boxes, fit_image
from selftrain_jax.report.figures import shorten
from selftrain_jax.report.ranking import (
    Labelled,
    boxes_of,
    by_confidence,
    count_disagreements,
    is_kept,
    rarest_class,
    spread,
)
from selftrain_jax.types import Example

LONGEST_PX = 420
IMAGES_A_GALLERY = 6
MAX_NAMED_BOXES = 12  # with more boxes in an image only scores are written


class Picture(NamedTuple):
    """An image ready to show, and what it shows."""

    image: UInt8[np.ndarray, "H W 3"]
    caption: str
    alt: str


class Gallery(NamedTuple):
    """Rows of pictures under a title, with what to look for."""

    title: str
    caption: str
    rows: list[list[Picture]]


def draw_example(example: Example, names: Mapping[int, str], threshold: float, caption: str) -> Picture:
    """Draw labels solid; dashed what is to be ignored, or is scored below `threshold` but above half of it."""
    boxes, kept = boxes_of(example), is_kept(example, threshold)
    scores = np.asarray(example["scores"]) if "scores" in example else None
    shown = np.ones(len(boxes), dtype=bool) if scores is None else scores >= threshold / 2
    classes = [int(class_id) for class_id in np.asarray(example.get("classes", []))[shown]]
    image, boxes = fit_image(example["image"], boxes[shown], LONGEST_PX)
    texts = [
        _box_text(names, class_id, None if scores is None else float(scores[shown][slot]), kept.sum())
        for slot, class_id in enumerate(classes)
    ]
    texts = [text if is_label else "" for text, is_label in zip(texts, kept[shown], strict=True)]
    drawn = draw_boxes(
        image,
        boxes,
        texts,
        [class_color(class_id) for class_id in classes],
        dashed=[not is_label for is_label in kept[shown]],
        font_px=11,
    )
    return Picture(drawn, caption, f"{caption}: {_counts(classes, kept[shown], names)}")


def pseudo_galleries(
    source: Source,
    labelled: list[Labelled],
    truth: Callable[[str], Example] | None,
    names: Mapping[int, str],
    threshold: float,
) -> list[Gallery]:
    """Show pseudo labels: random, most and least confident, rarest class, and wrong ones if `truth` is known."""
    ranked = by_confidence(labelled, threshold)
    order = np.random.default_rng((0, len(labelled))).permutation(len(labelled))[:IMAGES_A_GALLERY]
    choices = [
        (
            "At random",
            "The fair picture: what the student sees on average.",
            [labelled[place] for place in order],
        ),
        ("Most confident", "Highest mean score. Should be right nearly always.", ranked[:IMAGES_A_GALLERY]),
        (
            "Least confident",
            "Lowest mean score. Often crowded, dark or unusual images.",
            ranked[::-1][:IMAGES_A_GALLERY],
        ),
    ]
    rare = rarest_class(labelled, threshold)
    if rare is not None:
        having = [
            image for image in ranked if rare in image.example["classes"][is_kept(image.example, threshold)]
        ]
        choices.append(
            (
                f"Rarest class: {names.get(rare, str(rare))}",
                "Fewest pseudo labels: the first to suffer from a wrong threshold.",
                having[:IMAGES_A_GALLERY],
            )
        )
    galleries = [
        Gallery(title, caption, [[_draw_pseudo(source, image, names, threshold)] for image in images])
        for title, caption, images in choices
        if images
    ]
    return (
        galleries if truth is None else galleries + _against_truth(source, labelled, truth, names, threshold)
    )


def augmentation_galleries(
    augmented: Mapping[str, list[tuple[Example, Example]]], names: Mapping[int, str]
) -> list[Gallery]:
    """Show images before and after each policy. Paper: section 3.1, Figure 1."""
    caption = "Boxes must still sit on their objects after the change."
    return [
        Gallery(
            policy.upper(),
            caption,
            [
                [draw_example(before, names, 0.0, "before"), draw_example(after, names, 0.0, "after")]
                for before, after in pairs
            ],
        )
        for policy, pairs in augmented.items()
        if pairs
    ]


def test_gallery(
    source: Source, detected: Mapping[str, Mapping[str, Example]], names: Mapping[int, str], threshold: float
) -> list[Gallery]:
    """Show test images evenly through the split: truth, then each stage's detections (by image id)."""
    rows = [
        _test_row(source, index, detected, names, threshold)
        for index in spread(len(source), IMAGES_A_GALLERY)
    ]
    caption = (
        f"Evenly spread through the split, not chosen by result. Detections from score {threshold:g} on."
    )
    return [Gallery("Truth beside detections", caption, rows)] if rows else []


def disagreement_gallery(
    source: Source, detected: Mapping[str, Mapping[str, Example]], names: Mapping[int, str], threshold: float
) -> list[Gallery]:
    """Show the test images on which teacher and student differ most."""
    if not {"teacher", "student"} <= set(detected):
        return []
    counts = [
        count_disagreements(
            detected["teacher"].get(image_id, {}), detected["student"].get(image_id, {}), threshold
        )
        for image_id in source.image_ids
    ]
    most = [int(index) for index in np.argsort(counts)[::-1][:IMAGES_A_GALLERY] if counts[index] > 0]
    rows = [_test_row(source, index, detected, names, threshold) for index in most]
    caption = "Chosen because they differ most: here you see what the pseudo labels taught, good or bad."
    return [Gallery("Where teacher and student disagree", caption, rows)] if rows else []


def _against_truth(
    source: Source,
    labelled: list[Labelled],
    truth: Callable[[str], Example],
    names: Mapping[int, str],
    threshold: float,
) -> list[Gallery]:
    known = [(image, truth(source.image_ids[image.index])) for image in labelled]
    counted = [
        (count_disagreements(image.example, true, threshold), image, true)
        for image, true in known
        if "boxes" in true
    ]
    worst = [row for row in sorted(counted, key=lambda row: -row[0]) if row[0] > 0][:IMAGES_A_GALLERY]
    rows = []
    for count, image, true in worst:
        found: Example = {**image.example, "image": source.read_image(image.index)}
        rows.append(
            [
                draw_example(
                    {**true, "image": found["image"]}, names, 0.0, f"{source.image_ids[image.index]}, truth"
                ),
                draw_example(found, names, threshold, f"pseudo labels, {count} disagreements"),
            ]
        )
    caption = (
        "A box without a partner of its class at IoU 0.5 on the other side is a disagreement; worst first."
    )
    return [Gallery("Most at odds with the truth", caption, rows)] if rows else []


def _draw_pseudo(source: Source, image: Labelled, names: Mapping[int, str], threshold: float) -> Picture:
    example: Example = {**image.example, "image": source.read_image(image.index)}
    return draw_example(example, names, threshold, source.image_ids[image.index])


def _test_row(
    source: Source,
    index: int,
    detected: Mapping[str, Mapping[str, Example]],
    names: Mapping[int, str],
    threshold: float,
) -> list[Picture]:
    example, image_id = source.read(index), source.image_ids[index]
    row = [draw_example(example, names, 0.0, f"{image_id}, truth")]
    for stage, by_image in detected.items():
        found: Example = {**by_image.get(image_id, {}), "image": example["image"]}
        row.append(draw_example(found, names, threshold, stage))
    return row


def _box_text(names: Mapping[int, str], class_id: int, score: float | None, num_boxes: int) -> str:
    name = shorten(names.get(class_id, str(class_id)), 14) if num_boxes <= MAX_NAMED_BOXES else ""
    return f"{name} {'' if score is None else f'{score:.2f}'}".strip()


def _counts(classes: list[int], kept: np.ndarray, names: Mapping[int, str]) -> str:
    found = [class_id for class_id, is_label in zip(classes, kept, strict=True) if is_label]
    parts = [
        f"{found.count(class_id)} {names.get(class_id, str(class_id))}" for class_id in sorted(set(found))
    ]
    return ", ".join(parts) if parts else "no boxes"
