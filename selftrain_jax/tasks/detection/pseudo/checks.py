"""Pseudo boxes that no student should be trained on; `check_pseudo_boxes` looks before it is."""

from collections.abc import Mapping, Sequence

from selftrain_jax.errors import InputError
from selftrain_jax.run_files.manifest import Manifest
from selftrain_jax.selftrain.checks import (
    ADVICE,
    check_categories,
    check_dominant_class,
    list_missing_classes,
)
from selftrain_jax.tasks.detection.run_files import BoxTotals
from selftrain_jax.types import Category


def check_pseudo_boxes(
    manifest: Manifest[BoxTotals],
    *,
    human_categories: Sequence[Category],
    human_boxes_per_class: Mapping[str, int] | None = None,
    min_boxes_per_image: float = 0.01,
    max_boxes_per_image: float = 100.0,
    max_empty_frac: float = 0.98,
    max_class_frac: float = 0.95,
) -> list[str]:
    """Refuse what cannot work and return warnings for what is only suspicious, at the manifest's threshold.

    `human_boxes_per_class` (by name) lets one class hold more than `max_class_frac` of the boxes
    when it does so in the human labels too, and lists classes that the teacher never finds.

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


def _check_amounts(manifest: Manifest[BoxTotals], fewest: float, most: float, max_empty_frac: float) -> None:
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
