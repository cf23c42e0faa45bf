"""Pseudo labels to look at (paper section 3.1): a fair sample, the extremes, and the worst of all.

Call `label_galleries` with the labels that `ranking.read_spread` gave.
"""

from collections.abc import Callable, Sequence

import numpy as np

from selftrain_jax.data.source import Source
from selftrain_jax.html.galleries import IMAGES_A_GALLERY, Gallery, Pen, Picture, draw_example
from selftrain_jax.report.ranking import (
    Labelled,
    by_confidence,
    classes_of,
    count_disagreements,
    is_kept,
    rarest_class,
)
from selftrain_jax.types import Example


def label_galleries(
    source: Source, labelled: list[Labelled], truth: Callable[[str], Example] | None, pen: Pen
) -> list[Gallery]:
    """Show pseudo labels: random, most and least confident, rarest class, and wrong if `truth` is known."""
    ranked = by_confidence(labelled, pen.threshold)
    order = np.random.default_rng((0, len(labelled))).permutation(len(labelled))
    choices = [
        (
            "At random",
            "The fair picture: what the student sees on average.",
            [labelled[place] for place in order],
        ),
        ("Most confident", "Highest mean score. Should be right nearly always.", ranked),
        ("Least confident", "Lowest mean score. Often crowded, dark or unusual images.", ranked[::-1]),
        *_rarest(labelled, ranked, pen),
    ]
    galleries = [
        Gallery(title, caption, "tiles", _tiles(source, images, pen))
        for title, caption, images in choices
        if images
    ]
    return galleries if truth is None else [*galleries, *_against_truth(source, labelled, truth, pen)]


def _rarest(
    labelled: list[Labelled], ranked: list[Labelled], pen: Pen
) -> list[tuple[str, str, list[Labelled]]]:
    rare = rarest_class(labelled, pen.threshold)
    if rare is None:
        return []
    having = [
        image for image in ranked if rare in classes_of(image.example)[is_kept(image.example, pen.threshold)]
    ]
    caption = "Fewest pseudo labels: the first to suffer from a wrong threshold."
    return [(f"Rarest class: {pen.names.get(rare, str(rare))}", caption, having)]


def _against_truth(
    source: Source, labelled: list[Labelled], truth: Callable[[str], Example], pen: Pen
) -> list[Gallery]:
    known = [(image, truth(source.image_ids[image.position])) for image in labelled]
    counted = [
        (count_disagreements(image.example, true, pen.threshold), image, true)
        for image, true in known
        if "boxes" in true
    ]
    worst = [row for row in sorted(counted, key=lambda row: -row[0]) if row[0] > 0][:IMAGES_A_GALLERY]
    rows = [_truth_row(source, count, image, true, pen) for count, image, true in worst]
    caption = (
        "Worst first. A disagreement is a box without a partner of its class at IoU 0.5 on the other side."
    )
    return [Gallery("Most at odds with the truth", caption, "rows", rows)] if rows else []


def _truth_row(source: Source, count: int, image: Labelled, true: Example, pen: Pen) -> list[Picture]:
    pixels = source.read_image(image.position)
    truth: Example = {**true, "image": pixels}
    pseudo: Example = {**image.example, "image": pixels}
    return [
        draw_example(truth, pen._replace(threshold=0.0), f"{source.image_ids[image.position]}, truth"),
        draw_example(pseudo, pen, f"pseudo labels, {count} disagreement{'s' if count > 1 else ''}"),
    ]


def _tiles(source: Source, images: Sequence[Labelled], pen: Pen) -> list[list[Picture]]:
    rows = []
    for image in images[:IMAGES_A_GALLERY]:
        example: Example = {**image.example, "image": source.read_image(image.position)}
        rows.append([draw_example(example, pen, source.image_ids[image.position])])
    return rows
