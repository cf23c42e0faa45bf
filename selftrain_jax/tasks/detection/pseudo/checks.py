"""Pseudo labels that no student should be trained on, caught before it is (Paper: Section 3.1).

Call `check_pseudo_labels` on the manifest; it raises for what cannot work and returns what is
only suspicious.
"""

from collections.abc import Mapping, Sequence

from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.manifest import BOXES, Manifest, require_kind
from selftrain_jax.types import Category


def check_pseudo_labels(
    manifest: Manifest,
    *,
    human_categories: Sequence[Category],
    human_boxes_per_class: Mapping[str, int] | None = None,
    min_boxes_per_image: float = 0.01,
    max_boxes_per_image: float = 100.0,
    max_empty_frac: float = 0.98,
    max_class_frac: float = 0.95,
) -> list[str]:
    """Return warnings. Counts are those at the manifest's threshold.

    `human_boxes_per_class` (by name) lets one class hold more than `max_class_frac` of the boxes
    when it does so in the human labels too, and lists classes that the teacher never finds.

    Raises:
      InputError: masks, other categories than the human labels, no box, too few or too many boxes an
        image, too many images without a box, or one class holding nearly all of them.
    """
    require_kind(manifest, BOXES, "the manifest")
    check_categories(manifest, human_categories)
    _check_amounts(manifest, min_boxes_per_image, max_boxes_per_image, max_empty_frac)
    human = human_boxes_per_class or {}
    _check_dominant_class(manifest, human, max_class_frac)
    never = [name for name, count in human.items() if count and not _boxes(manifest).get(name, 0)]
    return [
        f"class {name!r} has {human[name]} human boxes and no pseudo box at threshold "
        f"{manifest['threshold']:g}, of {manifest['per_class'][name]['boxes_at_floor']} boxes of any score"
        for name in never
    ]


def check_categories(manifest: Manifest, human_categories: Sequence[Category]) -> None:
    """Raises: InputError when the pseudo labels have other categories than the human labels."""
    pseudo = {(entry["id"], entry["name"]) for entry in manifest["categories"]}
    human = {(category.id, category.name) for category in human_categories}
    if pseudo != human:
        raise InputError(
            "the pseudo labels and the human labels have different categories: only in the pseudo labels "
            f"{_first(pseudo - human)}, only in the human labels {_first(human - pseudo)}. Train the teacher "
            "on these human labels and label again."
        )


def _check_amounts(manifest: Manifest, fewest: float, most: float, max_empty_frac: float) -> None:
    images, boxes = manifest["num_images"], manifest["num_boxes_at_threshold"]
    threshold = manifest["threshold"]
    if not boxes:
        raise InputError(
            f"none of the {manifest['num_boxes']} boxes in {images} images reaches the score threshold "
            f"{threshold:g}. {_ADVICE_FEW}"
        )
    if boxes < fewest * images:
        raise InputError(
            f"{boxes} boxes in {images} images reach the threshold {threshold:g}: {boxes / images:.3g} an "
            f"image, expected at least {fewest:g} (config.pseudo.min_boxes_per_image). {_ADVICE_FEW}"
        )
    if boxes > most * images:
        raise InputError(
            f"{boxes / images:.3g} boxes an image reach the threshold {threshold:g}, expected at most "
            f"{most:g}. The teacher fires everywhere: look at its detections, raise config.pseudo.threshold."
        )
    empty = manifest["images_without_boxes_at_threshold"]
    if empty > max_empty_frac * images:
        raise InputError(
            f"{empty} of {images} images have no box at the threshold {threshold:g}, at most "
            f"{max_empty_frac:.0%} may be empty (config.pseudo.max_empty_frac). {_ADVICE_FEW}"
        )


def _check_dominant_class(manifest: Manifest, human: Mapping[str, int], max_class_frac: float) -> None:
    boxes, all_boxes = _boxes(manifest), manifest["num_boxes_at_threshold"]
    name = max(boxes, key=lambda name: boxes[name])
    if boxes[name] <= max_class_frac * all_boxes or len(boxes) == 1:
        return
    if not human or human.get(name, 0) > max_class_frac * sum(human.values()):
        return
    raise InputError(
        f"class {name!r} holds {boxes[name]} of {all_boxes} pseudo boxes, but {human.get(name, 0)} of "
        f"{sum(human.values())} human boxes. The teacher has collapsed onto one class: train it longer, or "
        "set config.pseudo.per_class_thresholds."
    )


def _boxes(manifest: Manifest) -> dict[str, int]:
    return {name: counts["boxes_at_threshold"] for name, counts in manifest["per_class"].items()}


def _first(entries: set[tuple[int, str]]) -> str:
    shown = ", ".join(f"{id} {name!r}" for id, name in sorted(entries)[:5])
    return f"{len(entries)} ({shown})" if entries else "none"


_ADVICE_FEW = (
    "Train the teacher longer or on more labels, check that the unlabelled images show the same classes, "
    "or lower config.pseudo.threshold."
)
