"""Pseudo masks as an ordinary labelled source, pixels below the threshold ignored.

Call `check_pseudo_masks` on the manifest of a folder that `write_pseudo_labels` finished, then
`read_pseudo_masks`; `read_raw_masks` gives the class and the confidence of every pixel.

The confidence p of a pixel is stored as the level q = min(floor(256 p), 255). `confidence_levels` turns
thresholds into levels (Paper: Section 3.1, threshold 0.5). Counts, training and pictures all use it, so that
they agree; `mask_low_confidence` applies the levels.
"""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from selftrain_jax.data.named_sources import source_of
from selftrain_jax.data.source import Source, subset
from selftrain_jax.errors import InputError
from selftrain_jax.run_files.manifest import Manifest
from selftrain_jax.selftrain.checks import (
    ADVICE,
    SourceThresholds,
    check_categories,
    check_dominant_class,
    class_thresholds,
    list_missing_classes,
)
from selftrain_jax.selftrain.manifest import read_manifest
from selftrain_jax.selftrain.records import open_records
from selftrain_jax.tasks.segmentation.run_files import MaskTotals
from selftrain_jax.text import FIRST_SOURCE
from selftrain_jax.types import IGNORED, Category, Example

NUM_LEVELS = 256
MAX_CLASS_FRAC = 0.99


def confidence_levels(thresholds: Float[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
    """Return the least level that each threshold keeps: q >= ceil(256 t).

    Exact for multiples of 1/256, such as 0.5; else pixels of t <= p < ceil(256 t) / 256 are lost. Above
    255/256 nothing is kept.
    """
    return np.ceil(NUM_LEVELS * thresholds).astype(np.int64)


def mask_low_confidence(
    mask: UInt8[np.ndarray, "H W"], confidence: UInt8[np.ndarray, "H W"], levels: Int[np.ndarray, " K"]
) -> UInt8[np.ndarray, "H W"]:
    """Set pixels to IGNORED where the confidence is below the level of their class, by Category.id."""
    return np.where(confidence >= levels[mask], mask, np.uint8(IGNORED))


def read_pseudo_masks(
    directory: Path,
    *,
    threshold: float = 0.5,
    per_class_thresholds: Mapping[str, float] | None = None,
    thresholds_by_source: Mapping[str, SourceThresholds] | None = None,
    ignored_classes: Collection[str] = (),
    is_soft: bool = False,
    is_weighed: bool = False,
    keep_empty: bool = True,
    max_damaged: int = 0,
) -> Source:
    """Read pseudo masks, IGNORED where the confidence is below the threshold of the pixel's class.

    Of several sources of images the further ones have the thresholds of `thresholds_by_source`, by name.
    Pixels with one of `ignored_classes` among the classes that the records keep of them are IGNORED. With
    `is_soft` labels have a `soft_mask` too (`make_soft`), with `is_weighed` a `pixel_weight`, the
    probability of the pixel's class.
    `keep_empty=False` drops images with no pixel left to learn from, which reads every record once.
    Up to `max_damaged` records that the disk has lost are left out.

    Raises:
        InputError: the folder is unfinished, damaged or holds boxes, a threshold does not fit it, or soft
            masks are asked of records that keep one class of a pixel.

    Paper: Section 3.1, hard threshold 0.5. Silent on images without a pixel above it: kept, since the
    loss is finite without a valid pixel.
    """
    raw = read_raw_masks(directory, max_damaged=max_damaged)
    if is_soft and read_manifest(directory, MaskTotals).labels.settings.top_k == 1:
        raise InputError(
            f"{directory} keeps one class of each pixel, but config.pseudo.mask_target=soft learns from "
            "more. Label again with --config.pseudo.mask_top_k=2 (or 3), or use "
            "--config.pseudo.mask_target=hard."
        )
    ignored = [category.id for category in raw.categories if category.name in ignored_classes]
    first = SourceThresholds(threshold, per_class_thresholds or {})
    levels = {
        name: confidence_levels(class_thresholds(raw.categories, *own))
        for name, own in {FIRST_SOURCE: first, **(thresholds_by_source or {})}.items()
    }

    def read_labels(index: int) -> Example:
        labels = raw.read_labels(index)
        own = levels[source_of(raw.image_ids[index], levels)]
        kept = mask_low_confidence(labels["mask"], labels["confidence"], own)
        kept = mask_classes(kept, labels, ignored)
        soft: Example = {"soft_mask": make_soft(labels)} if is_soft else {}
        weight: Example = {"pixel_weight": make_weight(labels["confidence"])} if is_weighed else {}
        return {"image_id": labels["image_id"], "mask": kept, "is_pseudo": True, **soft, **weight}

    source = dataclasses.replace(raw, read_labels=read_labels)
    if keep_empty:
        return source
    kept = [index for index in range(len(source)) if (source.read_labels(index)["mask"] != IGNORED).any()]
    return subset(source, kept)


def mask_classes(
    kept: UInt8[np.ndarray, "H W"], labels: Example, ignored: Sequence[int]
) -> UInt8[np.ndarray, "H W"]:
    """Set pixels to IGNORED that may be of an ignored class: labelled so, or with it as a runner-up.

    A runner-up counts from a probability of 1/256 on. Records of one class a pixel have none.
    """
    if not ignored:
        return kept
    found = np.isin(labels["mask"], ignored)
    if "runners_up" in labels:
        classes, probabilities = labels["runners_up"][..., 0::2], labels["runners_up"][..., 1::2]
        found |= (np.isin(classes, ignored) & (probabilities > 0)).any(axis=-1)
    return np.where(found, np.uint8(IGNORED), kept)


def make_soft(labels: Example) -> UInt8[np.ndarray, "H W 4"]:
    """Return the shares of a pixel's kept classes, their probabilities divided by their sum, in 255ths.

    In the order of `types.MaskTargets.soft`. The probability of a stored q is (q + 0.5) / 256, of a
    runner-up's q = 0 it is 0.
    """
    classes, levels = labels["runners_up"][..., 0::2], labels["runners_up"][..., 1::2]
    runners_up = np.where(levels > 0, levels + 0.5, 0.0)
    total = labels["confidence"] + 0.5 + runners_up.sum(axis=-1)
    soft = np.zeros((*classes.shape[:2], 4), np.uint8)
    soft[..., 0 : 2 * classes.shape[-1] : 2] = classes
    soft[..., 1 : 2 * classes.shape[-1] : 2] = np.round(255 * runners_up / total[..., None])
    return soft


def make_weight(confidence: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W 1"]:
    """Return the probability of each pixel's class in 255ths; that of a stored q is (q + 0.5) / 256."""
    return np.round(255 * (confidence[..., None] + 0.5) / NUM_LEVELS).astype(np.uint8)


def read_raw_masks(directory: Path, *, max_damaged: int = 0) -> Source:
    """Read `mask`, the likeliest class of every pixel, and its `confidence`, as they are stored.

    Raises:
        InputError: the folder is unfinished, damaged or holds boxes.
    """
    manifest = read_manifest(directory, MaskTotals)
    raw = open_records(directory, manifest, max_damaged=max_damaged)
    highest = max(category.id for category in raw.categories)
    return dataclasses.replace(
        raw, read_labels=lambda index: _require_maps(raw.read_labels(index), highest, directory)
    )


def _require_maps(labels: Example, highest_class: int, directory: Path) -> Example:
    missing = [key for key in ("mask", "confidence") if key not in labels]
    if missing:
        raise InputError(
            f"{directory}: the record of image {labels['image_id']} has no {' and no '.join(missing)}; "
            "expected the class and the confidence of every pixel. Delete the folder and run "
            "--job=pseudo_label again."
        )
    if labels["mask"].max() > highest_class:
        raise InputError(
            f"{directory}: the mask of image {labels['image_id']} has the class {labels['mask'].max()}; the "
            f"manifest's classes end at {highest_class}. Delete the folder and run --job=pseudo_label again."
        )
    return labels


def check_pseudo_masks(
    manifest: Manifest[MaskTotals],
    *,
    human_categories: Sequence[Category],
    human_pixels_per_class: Mapping[str, int] | None = None,
    min_coverage: float = 0.01,
    max_class_frac: float = MAX_CLASS_FRAC,
) -> list[str]:
    """Refuse what cannot work and return warnings for what is only suspicious, at the manifest's threshold.

    `human_pixels_per_class` (by name) lets one class hold more than `max_class_frac` of the pixels where it
    dominates the human masks too (`check_dominant_class`), and lists classes that the teacher never finds.
    Without it neither is checked.

    Raises:
        InputError: other categories than the human masks, too few pixels kept, or nearly all of one class.

    Paper: silent. `max_class_frac` is above what the background holds of ordinary masks, three
    quarters on VOC.
    """
    check_categories(manifest, human_categories)
    _check_coverage(manifest, min_coverage)
    human = human_pixels_per_class or {}
    check_dominant_class(manifest, human, max_class_frac)
    return [
        f"class {name!r} has {human[name]} human pixels and no pseudo pixel at threshold "
        f"{manifest.threshold:g}, of {manifest.labels.per_class[name].pixels} pixels of any confidence"
        for name in list_missing_classes(manifest, human)
    ]


def _check_coverage(manifest: Manifest[MaskTotals], min_coverage: float) -> None:
    images, threshold = manifest.num_images, manifest.threshold
    pixels, kept = manifest.labels.num_pixels, manifest.labels.num_kept
    highest = (NUM_LEVELS - 1) / NUM_LEVELS
    if not kept and threshold > highest:
        raise InputError(
            f"the threshold {threshold:g} keeps no pixel, whatever the teacher says: confidences are kept in "
            f"{NUM_LEVELS}ths, the highest as {highest:g}. Lower config.pseudo.threshold to that or less."
        )
    if not kept:
        raise InputError(
            f"none of the {pixels} pixels in {images} images reaches the threshold {threshold:g}: there is "
            f"nothing to learn from them. {ADVICE}"
        )
    if kept < min_coverage * pixels:
        raise InputError(
            f"{kept} of {pixels} pixels in {images} images reach the threshold {threshold:g}: "
            f"{kept / pixels:.3g} of all, expected at least {min_coverage:g} (config.pseudo.min_coverage). "
            f"{ADVICE}"
        )
