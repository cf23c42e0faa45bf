"""Masks to look at: pseudo masks, the augmentations S1 to S4 (paper section 3.1), and the test images.

Each `*_galleries` gives galleries of rows; the pictures of a row belong together. `summarise_pseudo_masks`
keeps a few numbers of an image, never its mask, to choose by.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from selftrain_jax.data.source import Source
from selftrain_jax.html.galleries import (
    LONGEST_PX,
    Gallery,
    Picture,
    chosen_galleries,
    fit_side,
    pair_galleries,
    spread,
)
from selftrain_jax.tasks.segmentation.draw import fit_mask, overlay
from selftrain_jax.tasks.segmentation.pseudo.source import mask_low_confidence
from selftrain_jax.text import percent
from selftrain_jax.types import IGNORED, Example

IMAGES_A_GALLERY = 4
MAX_MASKS_RANKED = 400  # evenly spread over the source; two PNG are decoded for each
MIN_RARE_PIXELS = 30  # of an image that shows the rarest class


class MaskSummary(NamedTuple):
    """What there is to say of an image's pseudo mask."""

    position: int  # in its source
    coverage: float  # share of pixels kept
    confidence: float  # mean of all pixels, 0 to 1
    kept: Int[np.ndarray, "256"]  # pixels by class
    precision: float  # share of kept pixels that is right; NaN where the truth is not known


class MaskStyle(NamedTuple):
    """How masks are drawn."""

    names: Mapping[int, str]  # written into the areas, but the background's
    levels: Int[np.ndarray, "256"]  # the stored confidence that a pixel of each class needs
    opacity: float = 0.5
    font_px: int | None = None


def confident_mask(labels: Example, levels: Int[np.ndarray, "256"]) -> UInt8[np.ndarray, "H W"]:
    """Ignore a pseudo mask's pixels of low confidence; keep a mask without confidence, as people draw it."""
    mask = labels["mask"]
    return mask_low_confidence(mask, labels["confidence"], levels) if "confidence" in labels else mask


def right_share(mask: UInt8[np.ndarray, "H W"], truth: UInt8[np.ndarray, "H W"]) -> float:
    """Divide the pixels that are right by those that are kept and of known truth; NaN without any."""
    counted = (mask != IGNORED) & (truth != IGNORED)
    return float((mask == truth)[counted].mean()) if counted.any() else float("nan")


def summarise_pseudo_masks(
    source: Source, truth: Callable[[str], Example] | None, levels: Int[np.ndarray, "256"]
) -> list[MaskSummary]:
    """Read at most MAX_MASKS_RANKED pseudo masks, spread through the source, and sum each up."""
    return [_summarise(source, index, truth, levels) for index in spread(len(source), MAX_MASKS_RANKED)]


def rarest_class(summaries: list[MaskSummary]) -> int | None:
    """Find the class with the fewest pixels kept, of those with any."""
    total = np.sum([summary.kept for summary in summaries], axis=0) if summaries else np.zeros(256)
    present = np.flatnonzero(total)
    return int(present[np.argmin(total[present])]) if len(present) else None


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
    return ", ".join(f"{known.get(one, one)} {percent(counts[one] / mask.size)}" for one in order)


def pseudo_galleries(
    source: Source, summaries: list[MaskSummary], truth: Callable[[str], Example] | None, style: MaskStyle
) -> list[Gallery]:
    """Show pseudo masks: at random, the least sure, the rarest class, and wrong ones if `truth` is known."""
    order = np.random.default_rng((0, len(summaries))).permutation(len(summaries))
    scored = [summary for summary in summaries if not np.isnan(summary.confidence)]
    unsure = sorted(scored, key=lambda summary: summary.confidence)
    wrong = sorted([each for each in summaries if each.precision < 1], key=lambda each: each.precision)
    fair = "The fair picture: what the student sees on average."
    least = "Lowest mean confidence. What is hatched here the student learns from no one."
    errors = "Smallest share of kept pixels that is right: errors taught as truth."
    choices = [
        ("At random", fair, [summaries[position] for position in order]),
        ("Least sure", least, unsure),
        *_rarest(summaries, style),
        ("Most at odds with the truth", errors, wrong),
    ]
    return chosen_galleries(
        choices, "rows", lambda summary: _pseudo_row(source, summary, truth, style), IMAGES_A_GALLERY
    )


def augmentation_galleries(
    augmented: Mapping[str, list[tuple[Example, Example]]], names: Mapping[int, str]
) -> list[Gallery]:
    """Show images with their masks before and after each policy. Paper: section 3.1, Figure 1."""
    style = MaskStyle(names, np.zeros(256, np.int64), opacity=0.35)
    caption = "Areas must still lie on their objects. "
    caption += "Hatched: outside of the image, or ignored in the labels."
    return pair_galleries(
        augmented, caption, lambda side, word: draw_mask(side["image"], side["mask"], style, word)
    )


def _rarest(summaries: list[MaskSummary], style: MaskStyle) -> list[tuple[str, str, list[MaskSummary]]]:
    rare = rarest_class(summaries)
    if rare is None:
        return []
    having = [summary for summary in summaries if summary.kept[rare] >= MIN_RARE_PIXELS]
    caption = "Fewest pixels kept of all classes: the first to suffer from a wrong threshold. "
    caption += "Most of it first."
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


def _summarise(
    source: Source, index: int, truth: Callable[[str], Example] | None, levels: Int[np.ndarray, "256"]
) -> MaskSummary:
    labels = source.read_labels(index)
    mask = confident_mask(labels, levels)
    known = {} if truth is None else truth(source.image_ids[index])
    kept = np.bincount(mask[mask != IGNORED], minlength=256)
    confidence = float(labels["confidence"].mean() + 0.5) / 256 if "confidence" in labels else float("nan")
    precision = right_share(mask, known["mask"]) if "mask" in known else float("nan")
    return MaskSummary(index, float(kept.sum() / mask.size), confidence, kept, precision)
