"""Pseudo masks that no student should be trained on; `check_pseudo_masks` looks before it is."""

from collections.abc import Mapping, Sequence

from selftrain_jax.errors import InputError
from selftrain_jax.run_files.manifest import Manifest
from selftrain_jax.selftrain.checks import (
    ADVICE,
    check_categories,
    check_dominant_class,
    list_missing_classes,
)
from selftrain_jax.tasks.segmentation.pseudo.confidence import NUM_LEVELS
from selftrain_jax.tasks.segmentation.run_files import MaskTotals
from selftrain_jax.types import Category


def check_pseudo_masks(
    manifest: Manifest[MaskTotals],
    *,
    human_categories: Sequence[Category],
    human_pixels_per_class: Mapping[str, int] | None = None,
    min_coverage: float = 0.01,
    max_class_frac: float = 0.99,
) -> list[str]:
    """Refuse what cannot work and return warnings for what is only suspicious, at the manifest's threshold.

    `human_pixels_per_class` (by name) lets one class hold more than `max_class_frac` of the pixels
    when it does so in the human masks too, and lists classes that the teacher never finds. Without it
    neither is checked.

    Raises:
        InputError: other categories than the human masks, too few pixels are kept, or one class holds
            nearly all of them.

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
