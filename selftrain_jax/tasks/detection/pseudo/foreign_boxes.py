"""One other model's boxes in the pixels and classes of a run's images; call `open_model_boxes`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from selftrain_jax.data.problems import check_boxes, describe_fault
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.foreign.boxes import ForeignBoxes
from selftrain_jax.selftrain.foreign.class_map import (
    Resolved,
    describe_left_out,
    read_class_map,
    resolve_classes,
)
from selftrain_jax.selftrain.foreign.image_names import match_images
from selftrain_jax.selftrain.foreign.read_boxes import read_foreign_boxes
from selftrain_jax.tasks.foreign_settings import ForeignModel, ForeignSettings
from selftrain_jax.text import shorten_list
from selftrain_jax.threads import thread_pool
from selftrain_jax.types import Category, Example

NUM_THREADS = 8
LARGEST_SHARE = 1.5  # boxes of a whole file within it are shares of the image, no pixels
Sizes = Mapping[int, tuple[int, int]]  # height, width by position; without images that cannot be read


class ModelBoxes(NamedTuple):
    """A model's boxes of at least the floor, best first, by image id; and what is known of the model."""

    name: str
    by_image: Mapping[str, Example]
    named: frozenset[str]  # image ids that the file names, with or without a box
    class_ids: frozenset[int]  # classes that the model can find
    num_boxes: int
    lines: tuple[str, ...]

    def labels_of(self, image_id: str) -> Example:
        """Return `boxes`, `classes` and `scores` of an image, of none where the model found nothing."""
        return self.by_image.get(image_id, _NO_BOXES)


_NO_BOXES: Example = {
    "boxes": np.zeros((0, 4), np.float32),
    "classes": np.zeros(0, np.int32),
    "scores": np.zeros(0, np.float32),
}


def open_model_boxes(
    model: ForeignModel,
    settings: ForeignSettings,
    source: Source,
    categories: Sequence[Category],
    score_floor: float,
    *,
    is_val: bool = False,
) -> ModelBoxes:
    """Read a model's boxes for the images of `source`, or with `is_val` those that it has for val.

    Raises:
        InputError: the file is malformed, is of other images or classes, or its boxes do not fit the images.
    """
    path, annotations = (
        (model.val, model.val_annotations) if is_val else (model.predictions, model.annotations)
    )
    assert path is not None
    found = read_foreign_boxes(path, annotations, f"config.foreign.{'val' if is_val else 'predictions'}")
    where = str(path)
    positions = match_images(found.images, source.image_ids, where)
    rows = read_class_map(Path(model.class_map), categories) if model.class_map else None
    resolved = resolve_classes(rows, set(found.labels), found.names, categories, where)
    image_of = np.array([positions.get(name, -1) for name in found.images], np.int64)[found.image_of]
    lines = _check_images(found, image_of, source, settings, where)
    is_ours = np.array([label in resolved.class_ids for label in found.labels], bool)
    kept = (image_of >= 0) & is_ours & (found.scores >= np.float32(score_floor))
    sizes = _read_sizes(source, np.unique(image_of[kept]).tolist())
    kept &= np.isin(image_of, list(sizes))
    boxes, is_bad, clipped = _to_pixels(found, kept, image_of, sizes, settings, where)
    kept[np.flatnonzero(kept)[is_bad]] = False
    lines += describe_left_out(resolved, Counter(found.labels), found.names)
    below = int(((image_of >= 0) & is_ours & (found.scores < np.float32(score_floor))).sum())
    lines += [f"{below} boxes below config.pseudo.score_floor={score_floor:g}, left out"] if below else []
    lines += [f"{clipped} boxes reach beyond their image, cut at its edge"] if clipped else []
    lines += (
        [f"{int(is_bad.sum())} boxes without area or outside their image, dropped"] if is_bad.any() else []
    )
    by_image = _group(found, kept, boxes[~is_bad], image_of, resolved, source)
    name = model.name or found.model or path.stem
    head = (
        f"{name}: {found.kind} in {path}, {int(kept.sum())} boxes on {len(by_image)} images of {source.name}"
    )
    return ModelBoxes(
        name=name,
        by_image=by_image,
        named=frozenset(source.image_ids[index] for index in positions.values()),
        class_ids=resolved.can_find,
        num_boxes=int(kept.sum()),
        lines=(head, *(f"  {line}" for line in (*lines, *found.notes))),
    )


def _check_images(
    found: ForeignBoxes,
    image_of: np.ndarray,
    source: Source,
    settings: ForeignSettings,
    where: str,
) -> list[str]:
    """Refuse or count predictions for images that are not among `source`."""
    others = [found.images[index] for index in np.unique(found.image_of[image_of < 0])]
    if not others:
        return []
    text = (
        f"{int((image_of < 0).sum())} boxes for {len(others)} images that are not in {source.name}: "
        f"{shorten_list([*map(repr, others)])}"
    )
    if len(others) == len(set(found.image_of.tolist())):
        raise InputError(
            f"{where}: {text}; none fits. This run has "
            f"{shorten_list([*map(repr, source.image_ids)], 3)}: images are found by id, file name, stem or "
            "number; COCO results whose ids are numbers of a file of their own need that file as "
            "config.foreign.annotations"
        )
    if settings.unknown_images == "error":
        raise InputError(
            f"{where}: {text}. Predict for this run's unlabelled images alone, or drop the others by "
            "--config.foreign.unknown_images=drop"
        )
    return [f"{text}, dropped"]


def _read_sizes(source: Source, positions: Sequence[int]) -> Sizes:
    """Read (height, width) from the headers of images; those that cannot be read are left out."""

    def read(index: int) -> tuple[int, int] | None:
        try:
            return source.size_px(index)
        except InputError:
            return None  # labelling counts it as an image that does not decode

    with thread_pool(NUM_THREADS) as pool:
        sizes = dict(zip(positions, pool.map(read, positions), strict=True))
    return {index: size for index, size in sizes.items() if size is not None}


def _to_pixels(
    found: ForeignBoxes,
    kept: Bool[np.ndarray, " N"],
    image_of: np.ndarray,
    sizes: Sizes,
    settings: ForeignSettings,
    where: str,
) -> tuple[Float[np.ndarray, "M 4"], Bool[np.ndarray, " M"], int]:
    """Return the kept boxes clipped to their images, which of them are bad, and how many were cut.

    Raises:
        InputError: boxes are shares where pixels are expected, or bad and not to be dropped.
    """
    chosen = np.flatnonzero(kept)
    boxes = found.boxes[chosen]
    sizes_px = np.array([sizes[index] for index in image_of[chosen].tolist()], np.float64).reshape(-1, 2)
    if found.is_frac:
        boxes = boxes * np.tile(sizes_px, 2)
    elif len(boxes) and np.abs(boxes).max() <= LARGEST_SHARE:
        raise InputError(
            f"{where}: all coordinates are at most {np.abs(boxes).max():g}: they are shares of the image, "
            f"but {found.kind} has pixels. Multiply x and width by the image's width, y and height by its "
            "height"
        )
    clipped, faults = check_boxes(boxes, sizes_px)
    is_bad = np.array([bool(fault) for fault in faults], bool)
    if is_bad.any() and settings.bad_boxes == "error":
        listed = [
            f"  {found.place(int(chosen[index]))}: "
            f"{describe_fault(faults[index], boxes[index], found.images[found.image_of[chosen[index]]])} of "
            f"{sizes_px[index][1]:g} x {sizes_px[index][0]:g} pixels"
            for index in np.flatnonzero(is_bad)[:5]
        ]
        raise InputError(
            "\n".join(
                [f"{where}: {int(is_bad.sum())} of {len(boxes)} boxes do not fit their images:", *listed]
            )
            + "\nPredict on these images at their own size (width and height in pixels), or leave such boxes "
            "out by --config.foreign.bad_boxes=drop"
        )
    num_cut = int((np.abs(clipped - boxes).max(axis=1, initial=0) > 0.5)[~is_bad].sum())
    return clipped, is_bad, num_cut


def _group(
    found: ForeignBoxes,
    kept: Bool[np.ndarray, " N"],
    boxes: Float[np.ndarray, "M 4"],
    image_of: np.ndarray,
    resolved: Resolved,
    source: Source,
) -> dict[str, Example]:
    """Collect the boxes of each image, best first."""
    chosen = np.flatnonzero(kept)
    classes = np.array([resolved.class_ids[found.labels[index]] for index in chosen], np.int32)
    scores, images = found.scores[chosen].astype(np.float32), image_of[chosen]
    order = np.lexsort((-scores, images))
    starts = np.flatnonzero(np.diff(images[order], prepend=-1))
    groups = np.split(order, starts[1:]) if len(order) else []
    return {
        source.image_ids[images[group[0]]]: {
            "boxes": boxes[group],
            "classes": classes[group],
            "scores": scores[group],
        }
        for group in groups
    }
