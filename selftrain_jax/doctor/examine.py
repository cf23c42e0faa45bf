"""Examine a data set before training: faults, statistics, and evaluation images that leak into training.

Call `examine`, then `doctor_report.format_diagnosis` and `write_doctor_report`. Paper: not in it; a
leak between unlabelled and evaluation images would make any gain of section 4 worthless.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from selftrain_jax.data.problems import BadBoxes
from selftrain_jax.data.source import Problem, Source
from selftrain_jax.doctor.diagnosis import Diagnosis, Duplicates, Pair, SplitSummary
from selftrain_jax.doctor.perceptual_hash import (
    near_duplicates,
    near_duplicates_within,
    perceptual_hash,
    pixel_digest,
)
from selftrain_jax.doctor.pictures import describe_box, picture_duplicates, picture_problems
from selftrain_jax.doctor.verdicts import judge
from selftrain_jax.errors import InputError
from selftrain_jax.geometry import box_areas
from selftrain_jax.types import Example

TRAIN, UNLABELLED = "train", "unlabelled"
MAX_DISTANCE = (
    6  # JPEG at quality 20 moves a hash by 0 to 4 bits; of 66,000 pairs of cell images one is under 10
)
COCO_AREAS_PX = (32**2, 96**2)  # where medium and large begin
TINY_PX = 2


class Look(NamedTuple):
    """What one reading of an image and its labels gave."""

    labels: Example
    size_px: tuple[int, int]  # height, width
    digest: str
    hash: np.uint64  # what it looks like


class Scan(NamedTuple):
    """A split, each image read once."""

    source: Source
    looks: list[Look]
    unreadable: list[str]


def examine(
    *,
    labelled: Mapping[str, Source | None],
    unlabelled: Source | None,
    problems: Iterable[Problem],
    max_images: int | None = None,
    max_distance: int = MAX_DISTANCE,
    bad_boxes: BadBoxes = "error",
) -> Diagnosis:
    """Read the splits once and gather all there is to say about them.

    `labelled` names the splits; all but "train" are for evaluation, and None stands for one that
    could not be opened. `problems` are what the readers' `find_problems` yield. `max_images` bounds
    the images looked at in each split (spread evenly): faster, but duplicates are missed.
    `bad_boxes` is the reader's setting: boxes that it drops are only a warning.

    The few images that the page shows are read a second time.
    """
    sources = {name: source for name, source in labelled.items() if source is not None}
    if unlabelled is not None:
        sources[UNLABELLED] = unlabelled
    scans = {name: scan_split(source, max_images) for name, source in sources.items()}
    found = [*problems, *(problem for name in sources for problem in _suspect_boxes(scans[name]))]
    splits = tuple(_summarise(name, scan) for name, scan in scans.items())
    duplicates = tuple(
        _find_duplicates(scans, one, other, max_distance) for one, other in _comparisons(list(scans))
    )
    missing = tuple(name for name, source in labelled.items() if source is None)
    return Diagnosis(
        splits=splits,
        problems=tuple(found),
        duplicates=duplicates,
        max_distance=max_distance,
        verdicts=judge(splits, missing, found, duplicates, bad_boxes),
        problem_pictures=picture_problems(found, sources),
        duplicate_pictures=picture_duplicates(duplicates, sources),
    )


def scan_split(source: Source, max_images: int | None = None) -> Scan:
    """Read, decode and hash images on all cores; images that do not decode are listed, not raised."""
    num_examined = len(source) if max_images is None else min(max_images, len(source))
    indices = np.linspace(0, len(source) - 1, num_examined).round().astype(int).tolist()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda index: _look(source, index), indices))
    return Scan(
        source=source,
        looks=[result for result in results if isinstance(result, Look)],
        unreadable=[result for result in results if isinstance(result, str)],
    )


def _look(source: Source, index: int) -> Look | str:
    try:
        example = source.read(index)
    except InputError as error:
        return f"image {source.image_ids[index]}: {error}"
    image = example.pop("image")
    example.pop("mask", None)
    size_px = (image.shape[0], image.shape[1])
    return Look(example, size_px, pixel_digest(image), perceptual_hash(image))


def _suspect_boxes(scan: Scan) -> list[Problem]:
    """Find boxes that a reader lets pass and that are rarely meant: tiny ones, and the same one twice."""
    return [problem for look in scan.looks for problem in _suspect_boxes_of(look.labels, scan.source.name)]


def _suspect_boxes_of(labels: Example, name: str) -> Iterator[Problem]:
    taken = set()
    for place, box in enumerate(labels.get("boxes", np.zeros((0, 4))).tolist()):
        where, class_id = f"{name}, box {place}", int(labels["classes"][place])
        if min(box[2] - box[0], box[3] - box[1]) < TINY_PX:
            fault = f"is under {TINY_PX} px high or wide"
            yield Problem("tiny", where, describe_box(labels["image_id"], box, fault))
        if (*box, class_id) in taken:
            fault = f"stands there twice with class id {class_id}"
            yield Problem("repeated", where, describe_box(labels["image_id"], box, fault))
        taken.add((*box, class_id))


def _summarise(name: str, scan: Scan) -> SplitSummary:
    sizes = Counter(f"{look.size_px[1]} x {look.size_px[0]}" for look in scan.looks)
    return SplitSummary(
        split=name,
        source=scan.source.name,
        is_labelled=bool(scan.source.categories),
        num_images=len(scan.source),
        num_examined=len(scan.looks) + len(scan.unreadable),
        unreadable=tuple(scan.unreadable),
        image_sizes=dict(sizes.most_common()),
        **(_summarise_boxes(scan) if scan.source.categories else {}),
    )


def _summarise_boxes(scan: Scan) -> dict[str, Any]:
    """Count boxes; crowds are counted apart, as neither training nor AP counts them."""
    is_box = [~look.labels["is_crowd"] for look in scan.looks]
    kept = [
        (look.labels["boxes"][keep], look.labels["classes"][keep])
        for look, keep in zip(scan.looks, is_box, strict=True)
    ]
    boxes = np.concatenate([np.zeros((0, 4)), *(boxes for boxes, _ in kept)])
    classes = np.concatenate([np.zeros(0, int), *(classes for _, classes in kept)])
    counts, per_image = Counter(classes.tolist()), Counter(int(keep.sum()) for keep in is_box)
    sides = np.sqrt(box_areas(boxes))
    areas = [_object_areas(look.labels)[keep] for look, keep in zip(scan.looks, is_box, strict=True)]
    by_area = np.bincount(np.digitize(np.concatenate([[], *areas]), COCO_AREAS_PX), minlength=3).tolist()
    quartiles = np.quantile(sides, (0, 0.25, 0.5, 0.75, 1)).round(1).tolist() if len(sides) else ()
    return {
        "class_counts": {category.name: counts[category.id] for category in scan.source.categories},
        "num_crowd": sum(int((~keep).sum()) for keep in is_box),
        "num_images_without_boxes": per_image[0],
        "boxes_per_image": dict(sorted(per_image.items())),
        "object_areas": dict(zip(("small", "medium", "large"), by_area, strict=True)),
        "box_side_px": tuple(quartiles),
    }


def _object_areas(labels: Example) -> np.ndarray:
    """Return px² of each object by which COCO sorts it into sizes: the annotation's area, else its box's."""
    return labels.get("areas", box_areas(labels["boxes"]))


def _comparisons(names: Sequence[str]) -> list[tuple[str, str]]:
    """Pair each evaluation split with what is trained on, with itself and with those before it."""
    trained = [name for name in names if name in (TRAIN, UNLABELLED)]
    evaluated = [name for name in names if name not in trained]
    return [
        (name, evaluation)
        for place, evaluation in enumerate(evaluated)
        for name in (*trained, *evaluated[: place + 1])
    ]


def _find_duplicates(scans: dict[str, Scan], name: str, evaluation: str, max_distance: int) -> Duplicates:
    looks, evaluated = scans[name].looks, scans[evaluation].looks
    hashes, other_hashes = (
        np.array([look.hash for look in found], np.uint64) for found in (looks, evaluated)
    )
    if name == evaluation:
        near = near_duplicates_within(hashes, max_distance)
    else:
        near = near_duplicates(hashes, other_hashes, max_distance)
    exact = _exact_duplicates(looks, evaluated, only_earlier=name == evaluation)
    rows = [(place, other, 0, True) for other, place in exact.items()]
    rows += [(place, other, bits, False) for place, other, bits in near.tolist() if other not in exact]
    pairs = tuple(
        Pair(looks[place].labels["image_id"], evaluated[other].labels["image_id"], bits, is_exact)
        for place, other, bits, is_exact in sorted(rows, key=lambda row: (not row[3], row[2], row[1]))
    )
    return Duplicates(name, evaluation, pairs)


def _exact_duplicates(looks: list[Look], evaluated: list[Look], *, only_earlier: bool) -> dict[int, int]:
    """Map places of evaluation images to the first place with the same pixels."""
    first: dict[str, int] = {}
    for place, look in enumerate(looks):
        first.setdefault(look.digest, place)
    exact = {other: first[look.digest] for other, look in enumerate(evaluated) if look.digest in first}
    return {other: place for other, place in exact.items() if place < other or not only_earlier}
