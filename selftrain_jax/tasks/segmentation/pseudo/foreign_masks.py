"""One other model's masks in the classes of a run; `open_model_masks`, and `merge_masks` for several."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.foreign.class_map import (
    KEY,
    describe_left_out,
    read_class_map,
    resolve_classes,
)
from selftrain_jax.selftrain.foreign.image_names import match_images
from selftrain_jax.selftrain.foreign.masks import MaskFiles, open_mask_folder, read_mask
from selftrain_jax.tasks.foreign_settings import ForeignModel, ForeignSettings
from selftrain_jax.text import shorten_list
from selftrain_jax.threads import NUM_READERS, thread_pool
from selftrain_jax.types import IGNORED, Category, Example

PRIOR_PIXELS = 1000.0  # sum of confidences that a class's precision is drawn to the model's own by


class ModelMasks(NamedTuple):
    """A model's masks by image id, read when asked for; and what is known of the model."""

    name: str
    files: MaskFiles
    names: Mapping[str, str]  # of the files, by image id
    to_ours: UInt8[np.ndarray, " 256"]  # Category.id by the model's id
    is_ours: np.ndarray  # [256], whether it is one of our classes
    class_ids: frozenset[int]
    lines: tuple[str, ...]

    def labels_of(self, image_id: str) -> Example:
        """Return `mask` and `confidence`; pixels of a class that is not ours have the confidence 0."""
        found = read_mask(self.files, self.names[image_id])
        return {
            "mask": self.to_ours[found.values],
            "confidence": np.where(self.is_ours[found.values], found.confidence, np.uint8(0)),
        }


def open_model_masks(
    model: ForeignModel,
    settings: ForeignSettings,
    source: Source,
    categories: Sequence[Category],
    *,
    is_val: bool = False,
) -> ModelMasks:
    """Read which images and classes a model's folder has, and see that its maps fit the images.

    Raises:
        InputError: the folder is malformed, is of other images or classes, or a map has another size.
    """
    folder = model.val if is_val else model.predictions
    assert folder is not None
    files = open_mask_folder(folder, f"config.foreign.{'val' if is_val else 'predictions'}")
    positions = match_images(files.maps, source.image_ids, str(folder))
    lines = _check_images(files, positions, source, settings, folder)
    counts = _count_values(files, positions, source)
    rows = read_class_map(Path(model.class_map), categories) if model.class_map else None
    if rows is None:
        raise InputError(
            f"{folder} has class ids and no names: {shorten_list(sorted(counts), 10)}. Say "
            f"which they are by --{KEY}=classes.csv, lines such as `7,{categories[0].name}`"
        )
    resolved = resolve_classes(rows, set(counts), {}, categories, str(folder))
    to_ours, is_ours = np.full(256, categories[0].id, np.uint8), np.zeros(256, bool)
    for label, class_id in resolved.class_ids.items():
        to_ours[int(label)], is_ours[int(label)] = class_id, True
    name = model.name or folder.name
    head = f"{name}: masks in {folder}, {len(positions)} of the {len(source)} images of {source.name}"
    return ModelMasks(
        name=name,
        files=files,
        names={source.image_ids[index]: own for own, index in positions.items()},
        to_ours=to_ours,
        is_ours=is_ours,
        class_ids=resolved.can_find,
        lines=(head, *(f"  {line}" for line in (*lines, *describe_left_out(resolved, counts, {})))),
    )


def _check_images(
    files: MaskFiles, positions: Mapping[str, int], source: Source, settings: ForeignSettings, folder: Path
) -> list[str]:
    others = [name for name in files.maps if name not in positions]
    if not others:
        return []
    text = (
        f"{len(others)} masks of images that are not in {source.name}: {shorten_list([*map(repr, others)])}"
    )
    if not positions:
        raise InputError(
            f"{folder}: {text}; none fits. This run's images are "
            f"{shorten_list([*map(repr, source.image_ids)], 3)}"
        )
    if settings.unknown_images == "error":
        raise InputError(
            f"{folder}: {text}. Predict for this run's unlabelled images alone, or drop the others by "
            "--config.foreign.unknown_images=drop"
        )
    return [f"{text}, dropped"]


def _count_values(files: MaskFiles, positions: Mapping[str, int], source: Source) -> Counter[str]:
    """Count the pixels of each of the model's ids, IGNORED left out, and compare sizes with the images."""

    def count(pair: tuple[str, int]) -> np.ndarray:
        name, index = pair
        values = read_mask(files, name).values
        try:
            size_px = source.size_px(index)
        except InputError:
            size_px = values.shape  # labelling counts it as an image that does not decode
        if values.shape != size_px:
            raise InputError(
                f"{files.maps[name]} is {values.shape[1]} x {values.shape[0]} pixels (width x height), image "
                f"{source.image_ids[index]} is {size_px[1]} x {size_px[0]}; enlarge the class map to the "
                "image's size by nearest neighbour"
            )
        return np.bincount(values.ravel(), minlength=256)

    with thread_pool(NUM_READERS) as pool:
        total = sum(pool.map(count, positions.items()), np.zeros(256, np.int64))
    return Counter({str(value): int(total[value]) for value in np.flatnonzero(total) if value != IGNORED})


def measure_mask_weights(
    pairs: Iterable[tuple[Example, Example]], categories: Sequence[Category]
) -> Float[np.ndarray, " K"]:
    """Return the precision of each class of (truth, found) masks, each pixel counted by its confidence.

    As `detection.pseudo.foreign_weights.measure_weights`, of pixels whose truth is known.
    """
    num_classes = 1 + max(category.id for category in categories)
    total, right = np.zeros((2, num_classes))
    for truth, found in pairs:
        known = truth["mask"] != IGNORED
        classes, weight = found["mask"][known], found["confidence"][known] / 256.0
        total += np.bincount(classes, weight, num_classes)
        right += np.bincount(classes, weight * (classes == truth["mask"][known]), num_classes)
    if not total.sum():
        return np.ones(num_classes)
    overall = right.sum() / total.sum()
    return (right + PRIOR_PIXELS * overall) / (total + PRIOR_PIXELS)


def merge_masks(found: Sequence[Example], weights: Float[np.ndarray, "T K"]) -> Example:
    """Merge the masks of T models by their confidences p and their weights w by class.

    A pixel gets the class c with the highest sum of w_tc · p_t over the models t that say c; its confidence
    is that sum over the sum of w_tc of all models that say anything there (confidence above 0). Of one model
    nothing changes.
    """
    masks = np.stack([labels["mask"] for labels in found])
    levels = np.stack([labels["confidence"] for labels in found])
    says = levels > 0
    probability = np.where(says, (levels + 0.5) / 256, 0.0)
    best, score = masks[0].copy(), np.zeros(masks.shape[1:])
    top = np.zeros(masks.shape[1:])
    for class_id in np.unique(masks):
        weight = weights[:, class_id, None, None]
        votes = (weight * probability * (masks == class_id)).sum(axis=0)
        heard = (weight * says).sum(axis=0)
        wins = votes > top
        top = np.where(wins, votes, top)
        best = np.where(wins, np.uint8(class_id), best)
        score = np.where(wins, votes / np.where(heard > 0, heard, 1), score)
    return {"mask": best, "confidence": np.minimum(np.floor(256 * score), 255).astype(np.uint8)}
