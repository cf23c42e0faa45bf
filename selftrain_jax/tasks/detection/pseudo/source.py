"""Pseudo boxes as an ordinary labelled source, with the score threshold applied.

Call `check_pseudo_boxes` on the manifest of a folder that `write_pseudo_labels` finished, then
`read_pseudo_boxes`.
"""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from selftrain_jax.data.named_sources import source_of
from selftrain_jax.data.source import Source, subset
from selftrain_jax.errors import InputError
from selftrain_jax.geometry import box_iou
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
from selftrain_jax.tasks.detection.run_files import BoxTotals
from selftrain_jax.text import FIRST_SOURCE
from selftrain_jax.types import Category, Example

MAX_CLASS_FRAC = 0.95


def read_pseudo_boxes(
    directory: Path,
    *,
    threshold: float = 0.5,
    per_class_thresholds: Mapping[str, float] | None = None,
    thresholds_by_source: Mapping[str, SourceThresholds] | None = None,
    ignore_below: float | None = None,
    ignored_classes: Collection[str] = (),
    agnostic_iou: float = 0.0,
    keep_empty: bool = True,
    max_damaged: int = 0,
) -> Source:
    """Read pseudo boxes of at least `threshold`; random access over all shards.

    Of several sources of images the further ones have the thresholds of `thresholds_by_source`, by name.
    With `ignore_below`, boxes of ignore_below <= score < threshold stay as `is_ignore`: neither
    object nor background. None is the paper's recipe: whatever is below the threshold is background. So do
    all boxes of `ignored_classes`, from the floor of the records on.
    With `agnostic_iou`, of labels that overlap more the surest alone is kept, whatever their classes
    (`keep_surest`).
    `keep_empty=False` drops images with no box left to learn from, which reads every record once.
    Up to `max_damaged` records that the disk has lost are left out.

    Raises:
        InputError: the folder is unfinished, damaged or holds masks, or a threshold does not fit it.

    Paper: Section 3.1, hard threshold 0.5. Silent on images without a box above it: kept, as
    background, since the official loss takes images without boxes.
    """
    manifest = read_manifest(directory, BoxTotals)
    raw = open_records(directory, manifest, max_damaged=max_damaged)
    floor = manifest.labels.settings.score_floor
    ignored = [category.id for category in raw.categories if category.name in ignored_classes]
    first = SourceThresholds(threshold, per_class_thresholds or {})
    cuts = {
        name: _cuts(class_thresholds(raw.categories, *own), ignore_below, floor, ignored)
        for name, own in {FIRST_SOURCE: first, **(thresholds_by_source or {})}.items()
    }

    def read_labels(index: int) -> Example:
        return _select(raw.read_labels(index), *cuts[source_of(raw.image_ids[index], cuts)], agnostic_iou)

    source = dataclasses.replace(raw, read_labels=read_labels)
    if keep_empty:
        return source
    return subset(source, [i for i in range(len(source)) if not source.read_labels(i)["is_ignore"].all()])


def _cuts(
    thresholds: np.ndarray, ignore_below: float | None, floor: float, ignored: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return from which scores on boxes are labels, and from which they are read, by Category.id."""
    lowest = thresholds if ignore_below is None else np.full_like(thresholds, ignore_below)
    check_thresholds(floor, thresholds, lowest)
    lowest = lowest.copy()
    lowest[ignored], thresholds[ignored] = floor, np.inf
    return thresholds, lowest


def _select(labels: Example, thresholds: np.ndarray, lowest: np.ndarray, agnostic_iou: float) -> Example:
    """Keep boxes from `lowest` on, and mark those below the threshold of their class."""
    scores, classes = labels["scores"], labels["classes"]
    kept = scores >= lowest[classes]
    if agnostic_iou:
        kept &= is_label(labels, thresholds, agnostic_iou) | (scores < thresholds[classes])
    place: Example = {"place_std": labels["place_std"][kept]} if "place_std" in labels else {}
    return {
        **place,
        "image_id": labels["image_id"],
        "boxes": labels["boxes"][kept],
        "classes": classes[kept],
        "scores": scores[kept],
        "is_ignore": (scores < thresholds[classes])[kept],
        "is_pseudo": True,
    }


def is_label(labels: Example, thresholds: np.ndarray, agnostic_iou: float) -> Bool[np.ndarray, " N"]:
    """Mark the boxes of a record that are labels: at the threshold of their class, and the surest there."""
    found = labels["scores"] >= thresholds[labels["classes"]]
    if agnostic_iou:
        found[found] = keep_surest(labels["boxes"][found], labels["scores"][found], agnostic_iou)
    return found


def keep_surest(
    boxes: Float[np.ndarray, "N 4"], scores: Float[np.ndarray, " N"], iou: float
) -> Bool[np.ndarray, " N"]:
    """Mark the boxes that overlap no surer one, which is marked itself, by more than `iou`.

    Class-agnostic NMS: a teacher that cannot tell a cat from a dog says both of one animal, and at most one
    is right. Not in the paper, whose NMS is by class.
    """
    overlaps = box_iou(boxes, boxes) > iou
    kept = np.zeros(len(boxes), bool)
    for index in np.argsort(-scores, kind="stable"):
        kept[index] = not (overlaps[index] & kept).any()
    return kept


def check_agnostic_iou(iou: float) -> None:
    """Raises: InputError: config.pseudo.agnostic_iou is no overlap."""
    if not 0 <= iou < 1:
        raise InputError(
            f"config.pseudo.agnostic_iou={iou:g} is the overlap above which the surer of two boxes is kept; "
            "expected above 0 and below 1, such as 0.6; 0 is off"
        )


def check_thresholds(score_floor: float, thresholds: np.ndarray, lowest: np.ndarray) -> None:
    """Compare thresholds and the least scores to read, float32 by class, with the floor of the records.

    Raises:
        InputError: one is below the floor, or a least score is above a threshold.
    """
    floor = np.float32(score_floor)
    if (thresholds < floor).any() or (lowest < floor).any():
        raise InputError(
            f"score thresholds down to {min(thresholds.min(), lowest.min()):.3g} were asked for, but boxes "
            f"below {floor:.3g} are not kept. Raise the threshold, or label with "
            f"--config.pseudo.score_floor={min(thresholds.min(), lowest.min())!s}."
        )
    if (lowest > thresholds).any():
        raise InputError(
            f"ignore_below {lowest.max():.3g} is above a score threshold ({thresholds.min():.3g}); "
            "boxes between the two would be lost. Choose a value below every threshold."
        )


def check_slots(
    source: Source, manifest: Manifest[BoxTotals], max_boxes: int, *, is_tiled: bool = False
) -> None:
    """Make sure that the boxes of each image of `source`, or tile, fit into config.image.max_boxes.

    Labels of a teacher that keeps no more detections of an image fit; others, such as labels made elsewhere
    or merged of tiles, are counted, which reads every record once.

    Raises:
        InputError: an image has more boxes at the thresholds.
    """
    match manifest.provenance.get("nms"):
        case {"max_detections": int(most)} if most <= max_boxes and not is_tiled:
            return
    counts = [len(source.read_labels(index)["boxes"]) for index in range(len(source))]
    most = max(counts, default=0)
    if most > max_boxes:
        raise InputError(
            f"{source.name}: {'tile' if is_tiled else 'image'} {source.image_ids[counts.index(most)]} has "
            f"{most} pseudo boxes at the thresholds, the most of all, but config.image.max_boxes is "
            f"{max_boxes}. Set --config.image.max_boxes={most}, or raise config.pseudo.threshold."
        )


def check_pseudo_boxes(
    manifest: Manifest[BoxTotals],
    *,
    human_categories: Sequence[Category],
    human_boxes_per_class: Mapping[str, int] | None = None,
    min_boxes_per_image: float = 0.01,
    max_boxes_per_image: int | float = 100.0,
    max_empty_frac: float = 0.98,
    max_class_frac: float = MAX_CLASS_FRAC,
) -> list[str]:
    """Refuse what cannot work and return warnings for what is only suspicious, at the manifest's threshold.

    `human_boxes_per_class` (by name) lets one class hold more than `max_class_frac` of the boxes where it
    dominates the human labels too (`check_dominant_class`), and lists classes that the teacher never finds.

    Raises:
        InputError: other categories than the human labels, no box, too few or too many boxes an image,
            too many images without a box, or one class holding nearly all of them.
    """
    check_categories(manifest, human_categories)
    _check_amounts(manifest, min_boxes_per_image, max_boxes_per_image, max_empty_frac)
    human = human_boxes_per_class or {}
    check_dominant_class(manifest, human, max_class_frac)
    return [
        f"class {name!r} has {human[name]} human boxes and no pseudo box at threshold "
        f"{manifest.threshold:g}, of {manifest.labels.per_class[name].boxes_at_floor} boxes of any score"
        for name in list_missing_classes(manifest, human)
    ]


def _check_amounts(
    manifest: Manifest[BoxTotals], fewest: float, most: int | float, max_empty_frac: float
) -> None:
    images, boxes, threshold = manifest.num_images, manifest.labels.num_kept, manifest.threshold
    if not boxes:
        raise InputError(
            f"none of the {manifest.labels.num_boxes} boxes in {images} images reaches the score threshold "
            f"{threshold:g}. {ADVICE}"
        )
    if boxes < fewest * images:
        raise InputError(
            f"{boxes} boxes in {images} images reach the threshold {threshold:g}: {boxes / images:.3g} an "
            f"image, expected at least {fewest:g} (config.pseudo.min_boxes_per_image). {ADVICE}"
        )
    if boxes > most * images:
        raise InputError(
            f"{boxes / images:.3g} boxes an image reach the threshold {threshold:g}, expected at most "
            f"{most:g}. The teacher finds objects everywhere: look at its detections, raise "
            "config.pseudo.threshold."
        )
    empty = manifest.labels.images_without_boxes_at_threshold
    if empty > max_empty_frac * images:
        raise InputError(
            f"{empty} of {images} images have no box at the threshold {threshold:g}, at most "
            f"{max_empty_frac:.0%} may be empty (config.pseudo.max_empty_frac). {ADVICE}"
        )
