"""Masks to look at: pseudo masks, the augmentations S1 to S4 (paper section 3.1), and the test images.

Each function gives galleries of rows; the pictures of a row belong together.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from selftrain_jax.data.source import Source
from selftrain_jax.html.galleries import LONGEST_PX, MAX_PAIRS, Gallery, Picture
from selftrain_jax.tasks.segmentation.draw import fit_mask, overlay
from selftrain_jax.tasks.segmentation.report.label_quality import percent
from selftrain_jax.tasks.segmentation.report.ranking import MaskSummary, keep_sure, rarest_class
from selftrain_jax.types import IGNORED, Example

IMAGES_A_GALLERY = 4
MIN_RARE_PIXELS = 30  # of an image that shows the rarest class


class Brush(NamedTuple):
    """How masks are drawn."""

    names: Mapping[int, str]  # written into the areas, but the background's
    levels: Int[np.ndarray, "256"]  # the stored confidence that a pixel of each class needs
    opacity: float = 0.5
    font_px: int | None = None


def draw_mask(
    image: UInt8[np.ndarray, "H W 3"], mask: UInt8[np.ndarray, "H W"], brush: Brush, caption: str
) -> Picture:
    """Lay a mask over an image; the words for those who cannot see it name the classes by size."""
    small, fitted = fit_mask(image, mask, LONGEST_PX)
    written = {class_id: name for class_id, name in brush.names.items() if name.lower() != "background"}
    drawn = overlay(small, fitted, brush.opacity, written, brush.font_px)
    return Picture(drawn, caption, f"{caption}: {describe(mask, brush.names)}")


def draw_plain(image: UInt8[np.ndarray, "H W 3"], caption: str) -> Picture:
    """Show an image as it is."""
    small, _ = fit_mask(image, np.zeros(image.shape[:2], np.uint8), LONGEST_PX)
    return Picture(small, caption, f"{caption}, the image itself")


def describe(mask: UInt8[np.ndarray, "H W"], names: Mapping[int, str]) -> str:
    """Name the classes of a mask with their share of it, largest first."""
    counts = np.bincount(mask.ravel(), minlength=256)
    order = [int(class_id) for class_id in np.argsort(-counts, kind="stable") if counts[class_id]]
    known = {**names, IGNORED: "ignored"}
    return ", ".join(
        f"{known.get(class_id, class_id)} {percent(counts[class_id] / mask.size)}" for class_id in order
    )


def pseudo_galleries(
    source: Source, summaries: list[MaskSummary], truth: Callable[[str], Example] | None, brush: Brush
) -> list[Gallery]:
    """Show pseudo masks: at random, the least sure, the rarest class, and wrong ones if `truth` is known."""
    order = np.random.default_rng((0, len(summaries))).permutation(len(summaries))
    unsure = sorted(
        (row for row in summaries if row.confidence == row.confidence), key=lambda row: row.confidence
    )
    wrong = sorted((row for row in summaries if row.precision < 1), key=lambda row: row.precision)
    choices = [
        (
            "At random",
            "The fair picture: what the student sees on average.",
            [summaries[place] for place in order],
        ),
        (
            "Least sure",
            "Lowest mean confidence. What is hatched here the student learns from no one.",
            unsure,
        ),
        *_rarest(summaries, brush),
        (
            "Most at odds with the truth",
            "Smallest share of kept pixels that is right: errors taught as truth.",
            wrong,
        ),
    ]
    return [
        Gallery(
            title,
            caption,
            "rows",
            [_pseudo_row(source, row, truth, brush) for row in rows[:IMAGES_A_GALLERY]],
        )
        for title, caption, rows in choices
        if rows
    ]


def augmentation_galleries(
    augmented: Mapping[str, list[tuple[Example, Example]]], names: Mapping[int, str]
) -> list[Gallery]:
    """Show images with their masks before and after each policy. Paper: section 3.1, Figure 1."""
    brush = Brush(names, np.zeros(256, np.int64), opacity=0.35)
    caption = (
        "Areas must still lie on their objects. Hatched: outside of the image, or ignored in the labels."
    )
    galleries = []
    for policy, pairs in augmented.items():
        rows = [
            [
                draw_mask(side["image"], side["mask"], brush, word)
                for side, word in ((before, "before"), (after, "after"))
            ]
            for before, after in pairs[:MAX_PAIRS]
        ]
        galleries += [Gallery(policy.upper(), caption, "pairs", rows)] if rows else []
    return galleries


def _rarest(summaries: list[MaskSummary], brush: Brush) -> list[tuple[str, str, list[MaskSummary]]]:
    rare = rarest_class(summaries)
    if rare is None:
        return []
    having = [row for row in summaries if row.kept[rare] >= MIN_RARE_PIXELS]
    caption = (
        "Fewest pixels kept of all classes: the first to suffer from a wrong threshold. Most of it first."
    )
    title = f"Rarest class: {brush.names.get(rare, f'class {rare}')}"
    return [(title, caption, sorted(having, key=lambda row: -row.kept[rare]))]


def _pseudo_row(
    source: Source, row: MaskSummary, truth: Callable[[str], Example] | None, brush: Brush
) -> list[Picture]:
    image, image_id = source.read_image(row.position), source.image_ids[row.position]
    kept = keep_sure(source.read_labels(row.position), brush.levels)
    right = "" if row.precision != row.precision else f", {percent(row.precision)} of them right"
    pictures = [
        draw_plain(image, image_id),
        draw_mask(image, kept, brush, f"pseudo mask, {percent(row.coverage)} of pixels kept{right}"),
    ]
    known = {} if truth is None else truth(image_id)
    return [*pictures, draw_mask(image, known["mask"], brush, "truth")] if "mask" in known else pictures
