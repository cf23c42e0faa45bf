"""Pseudo masks that no student should be trained on, caught before it is (Paper: Section 3.1).

Call `check_pseudo_masks` on the manifest; it raises for what cannot work and returns what is only
suspicious.
"""

from collections.abc import Mapping, Sequence

from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.manifest import MASKS, Manifest, require_kind
from selftrain_jax.tasks.detection.pseudo.checks import check_categories
from selftrain_jax.tasks.segmentation.pseudo.confidence import NUM_LEVELS
from selftrain_jax.types import Category


def check_pseudo_masks(
    manifest: Manifest,
    *,
    human_categories: Sequence[Category],
    human_pixels_per_class: Mapping[str, int] | None = None,
    min_coverage: float = 0.01,
    max_class_frac: float = 0.99,
) -> list[str]:
    """Return warnings. Counts are those at the manifest's threshold.

    `human_pixels_per_class` (by name) refuses labels of which one class holds more than
    `max_class_frac` where it does not in the human masks, and lists classes that are never found.
    Without it neither is looked at.

    Raises:
      InputError: the manifest is of boxes or of other categories than the human masks, too few pixels
        are kept, or one class holds nearly all of them.

    Paper: silent. `max_class_frac` is above what the background holds of ordinary masks, three
    quarters on VOC.
    """
    require_kind(manifest, MASKS, "the manifest")
    check_categories(manifest, human_categories)
    _check_coverage(manifest, min_coverage)
    human = human_pixels_per_class or {}
    _check_dominant_class(manifest, human, max_class_frac)
    counts = manifest["per_class"]
    return [
        f"class {name!r} has {pixels} human pixels and no pseudo pixel at threshold "
        f"{manifest['threshold']:g}, of {counts[name]['pixels']} pixels of any confidence"
        for name, pixels in human.items()
        if pixels and not counts[name]["pixels_at_threshold"]
    ]


def _check_coverage(manifest: Manifest, min_coverage: float) -> None:
    pixels, images, threshold = manifest["num_pixels"], manifest["num_images"], manifest["threshold"]
    kept = manifest["num_pixels_at_threshold"]
    highest = (NUM_LEVELS - 1) / NUM_LEVELS
    if not kept and threshold > highest:
        raise InputError(
            f"the threshold {threshold:g} keeps no pixel, whatever the teacher says: confidences are kept in "
            f"{NUM_LEVELS}ths, the highest as {highest:g}. Lower config.pseudo.threshold to that or less."
        )
    if not kept:
        raise InputError(
            f"none of the {pixels} pixels in {images} images reaches the threshold {threshold:g}: there is "
            f"nothing to learn from them. {_ADVICE}"
        )
    if kept < min_coverage * pixels:
        raise InputError(
            f"{kept} of {pixels} pixels in {images} images reach the threshold {threshold:g}: "
            f"{kept / pixels:.3g} of all, expected at least {min_coverage:g} (config.pseudo.min_coverage). "
            f"{_ADVICE}"
        )


def _check_dominant_class(manifest: Manifest, human: Mapping[str, int], max_class_frac: float) -> None:
    counts = {name: of_class["pixels_at_threshold"] for name, of_class in manifest["per_class"].items()}
    kept, name = manifest["num_pixels_at_threshold"], max(counts, key=lambda name: counts[name])
    if len(counts) == 1 or counts[name] <= max_class_frac * kept:
        return
    if not human or human.get(name, 0) > max_class_frac * sum(human.values()):
        return
    raise InputError(
        f"class {name!r} holds {counts[name]} of {kept} pseudo pixels ({counts[name] / kept:.2%}), but "
        f"{human.get(name, 0)} of {sum(human.values())} human pixels. The teacher has collapsed onto one "
        "class: train it longer, or set config.pseudo.per_class_thresholds."
    )


_ADVICE = (
    "Train the teacher longer or on more labels, check that the unlabelled images show the same classes, "
    "or lower config.pseudo.threshold."
)
