"""Masks to look at: pseudo masks, the augmentations S1 to S4 (paper section 3.1), and the test images.

Each function gives galleries of rows; the pictures of a row belong together.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from selftrain_jax.data.source import Source
from selftrain_jax.html.galleries import LONGEST_PX, Gallery, Picture, fit_side, pair_galleries
from selftrain_jax.html.numbers import percent
from selftrain_jax.tasks.segmentation.draw import fit_mask, overlay
from selftrain_jax.tasks.segmentation.report.ranking import MaskSummary, confident_mask, rarest_class
from selftrain_jax.types import IGNORED, Example

IMAGES_A_GALLERY = 4
MIN_RARE_PIXELS = 30  # of an image that shows the rarest class


class MaskStyle(NamedTuple):
    """How masks are drawn."""

    names: Mapping[int, str]  # written into the areas, but the background's
    levels: Int[np.ndarray, "256"]  # the stored confidence that a pixel of each class needs
    opacity: float = 0.5
    font_px: int | None = None


def draw_mask(
    image: UInt8[np.ndarray, "H W 3"], mask: UInt8[np.ndarray, "H W"], style: MaskStyle, caption: str
) -> Picture:
    """Lay a mask over an image; the words for those who cannot see it name the classes by size."""
    small, fitted = fit_mask(image, mask, LONGEST_PX)
    written = {class_id: name for class_id, name in style.names.items() if name.lower() != "background"}
    drawn = overlay(small, fitted, style.opacity, written, style.font_px)
    return Picture(drawn, caption, f"{caption}: {describe(mask, style.names)}")


def draw_plain(image: UInt8[np.ndarray, "H W 3"], caption: str) -> Picture:
    """Show an image as it is."""
    return Picture(fit_side(image), caption, f"{caption}, the image itself")


def describe(mask: UInt8[np.ndarray, "H W"], names: Mapping[int, str]) -> str:
    """Name the classes of a mask with their share of it, largest first."""
    counts = np.bincount(mask.ravel(), minlength=256)
    order = [int(class_id) for class_id in np.argsort(-counts, kind="stable") if counts[class_id]]
    known = {**names, IGNORED: "ignored"}
    return ", ".join(
        f"{known.get(class_id, class_id)} {percent(counts[class_id] / mask.size)}" for class_id in order
    )


def pseudo_galleries(
    source: Source, summaries: list[MaskSummary], truth: Callable[[str], Example] | None, style: MaskStyle
) -> list[Gallery]:
    """Show pseudo masks: at random, the least sure, the rarest class, and wrong ones if `truth` is known."""
    order = np.random.default_rng((0, len(summaries))).permutation(len(summaries))
    unsure = sorted(
        (summary for summary in summaries if summary.confidence == summary.confidence),
        key=lambda summary: summary.confidence,
    )
    wrong = sorted(
        (summary for summary in summaries if summary.precision < 1), key=lambda summary: summary.precision
    )
    fair = "The fair picture: what the student sees on average."
    least = "Lowest mean confidence. What is hatched here the student learns from no one."
    errors = "Smallest share of kept pixels that is right: errors taught as truth."
    choices = [
        ("At random", fair, [summaries[position] for position in order]),
        ("Least sure", least, unsure),
        *_rarest(summaries, style),
        ("Most at odds with the truth", errors, wrong),
    ]
    return [
        Gallery(
            title,
            caption,
            "rows",
            [_pseudo_row(source, summary, truth, style) for summary in found[:IMAGES_A_GALLERY]],
        )
        for title, caption, found in choices
        if found
    ]


def augmentation_galleries(
    augmented: Mapping[str, list[tuple[Example, Example]]], names: Mapping[int, str]
) -> list[Gallery]:
    """Show images with their masks before and after each policy. Paper: section 3.1, Figure 1."""
    style = MaskStyle(names, np.zeros(256, np.int64), opacity=0.35)
    caption = (
        "Areas must still lie on their objects. Hatched: outside of the image, or ignored in the labels."
    )
    return pair_galleries(
        augmented, caption, lambda side, word: draw_mask(side["image"], side["mask"], style, word)
    )


def _rarest(summaries: list[MaskSummary], style: MaskStyle) -> list[tuple[str, str, list[MaskSummary]]]:
    rare = rarest_class(summaries)
    if rare is None:
        return []
    having = [summary for summary in summaries if summary.kept[rare] >= MIN_RARE_PIXELS]
    caption = (
        "Fewest pixels kept of all classes: the first to suffer from a wrong threshold. Most of it first."
    )
    title = f"Rarest class: {style.names.get(rare, f'class {rare}')}"
    return [(title, caption, sorted(having, key=lambda summary: -summary.kept[rare]))]


def _pseudo_row(
    source: Source, summary: MaskSummary, truth: Callable[[str], Example] | None, style: MaskStyle
) -> list[Picture]:
    image, image_id = source.read_image(summary.position), source.image_ids[summary.position]
    kept = confident_mask(source.read_labels(summary.position), style.levels)
    right = "" if summary.precision != summary.precision else f", {percent(summary.precision)} of them right"
    pictures = [
        draw_plain(image, image_id),
        draw_mask(image, kept, style, f"pseudo mask, {percent(summary.coverage)} of pixels kept{right}"),
    ]
    known = {} if truth is None else truth(image_id)
    return [*pictures, draw_mask(image, known["mask"], style, "truth")] if "mask" in known else pictures
