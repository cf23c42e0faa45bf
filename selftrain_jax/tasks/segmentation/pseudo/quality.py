"""How good the pseudo masks are, where the truth is known after all.

Call `write_mask_quality` on a finished folder and the masks that were withheld from the teacher.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from selftrain_jax.data.named_sources import source_of
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.geometry import mean_iou
from selftrain_jax.io import write_json
from selftrain_jax.run_files.quality import QUALITY_FILE, Calibration, Quality
from selftrain_jax.selftrain.checks import SourceThresholds, class_thresholds
from selftrain_jax.selftrain.quality import CALIBRATION_EDGES, calibrate, find_truth, of_known_truth, ratio
from selftrain_jax.tasks.segmentation.pseudo.source import NUM_LEVELS, confidence_levels, read_raw_masks
from selftrain_jax.text import FIRST_SOURCE, shorten_list
from selftrain_jax.types import IGNORED, Category, Example

THRESHOLDS = np.round(np.arange(0, 0.96, 0.05), 2)


def write_mask_quality(
    directory: Path,
    truth: Source,
    *,
    threshold: float = 0.5,
    per_class_thresholds: Mapping[str, float] | None = None,
    thresholds_by_source: Mapping[str, SourceThresholds] | None = None,
    max_bad_images: int = 0,
) -> Quality:
    """Compare every pixel of a finished folder with `truth`; write quality.json.

    Of several sources of images those are compared that `truth` has images of, each at its thresholds.
    Up to `max_bad_images` true masks may be bad: such images are skipped, "bad_truth" counts them.

    Raises:
        InputError: the folder is unfinished or holds boxes, `truth` has other classes or lacks an image, or
            more of its masks are missing, unreadable, of another size or with ids outside the classes.
    """
    first = SourceThresholds(threshold, per_class_thresholds or {})
    by_source = {FIRST_SOURCE: first, **(thresholds_by_source or {})}
    pseudo = of_known_truth(read_raw_masks(directory), truth, by_source)
    thresholds = {name: class_thresholds(pseudo.categories, *own) for name, own in by_source.items()}
    bad: list[InputError] = []
    num_classes = len(thresholds[FIRST_SOURCE])
    pairs = _pairs_of_good_truth(pseudo, truth, num_classes, bad)
    groups = itertools.groupby(pairs, lambda pair: source_of(pair[1]["image_id"], thresholds))
    agreement = {name: count_agreement(group, num_classes) for name, group in groups}
    if len(bad) > max_bad_images:
        raise InputError(
            f"{truth.name}: {len(bad)} true masks are bad, allowed are {max_bad_images} "
            f"(config.data.max_bad_images): {shorten_list(bad)}"
        )
    quality = measure_sources(agreement, pseudo.categories, thresholds, threshold=threshold)
    quality = dataclasses.replace(quality, bad_truth=len(bad))
    write_json(directory / QUALITY_FILE, quality.to_json())
    return quality


def _pairs_of_good_truth(
    pseudo: Source, truth: Source, num_classes: int, bad: list[InputError]
) -> Iterator[tuple[Example, Example]]:
    """Give the (truth, pseudo) labels of images with a good true mask; add to `bad` why others are not."""
    for index, position in enumerate(find_truth(pseudo, truth)):
        found = pseudo.read_labels(index)
        try:
            true = truth.read_labels(position)
            check_truth(true, found, num_classes)
        except InputError as error:
            bad.append(error)
        else:
            yield true, found


def count_agreement(pairs: Iterable[tuple[Example, Example]], num_classes: int) -> Int[np.ndarray, "256 K K"]:
    """Count the pixels of (truth, pseudo) pairs of one size by confidence level, true and pseudo class.

    Pixels whose truth is IGNORED are left out. Memory does not grow with the number of images.
    """
    agreement = np.zeros((NUM_LEVELS, num_classes, num_classes), np.int64)
    for truth, pseudo in pairs:
        known = truth["mask"] != IGNORED
        levels, true, found = (
            pixels[known].astype(np.int64) for pixels in (pseudo["confidence"], truth["mask"], pseudo["mask"])
        )
        np.add.at(agreement.reshape(-1), (levels * num_classes + true) * num_classes + found, 1)
    return agreement


def measure_agreement(
    agreement: Int[np.ndarray, "256 K K"],
    categories: Sequence[Category],
    *,
    thresholds: Float[np.ndarray, " K"],
    threshold: float,
) -> Quality:
    """Precision, recall, mIoU and coverage against the threshold, and calibration.

    Over the pixels of known truth: precision(t) = correct and kept / kept, recall(t) = correct and kept /
    all, coverage(t) = kept / all; miou(t) is that of the kept pixels alone, over the classes that occur in
    them. A class's precision is over the pixels labelled as it, its recall over its true pixels. None where
    there is nothing to divide by. `thresholds` by Category.id replaces `threshold` under "at_threshold".
    """
    by_source = {FIRST_SOURCE: agreement}
    return measure_sources(by_source, categories, {FIRST_SOURCE: thresholds}, threshold=threshold)


def measure_sources(
    agreement_by_source: Mapping[str, Int[np.ndarray, "256 K K"]],
    categories: Sequence[Category],
    thresholds: Mapping[str, Float[np.ndarray, " K"]],
    *,
    threshold: float,
) -> Quality:
    """Do so for images of several sources, at the thresholds (by Category.id) of each.

    What is said by source is `sources`; all else is of all pixels together.
    """
    num_classes = len(thresholds[FIRST_SOURCE])
    agreement = sum(agreement_by_source.values(), np.zeros((NUM_LEVELS, num_classes, num_classes), np.int64))
    from_level = agreement[::-1].cumsum(axis=0)[::-1]  # all pixels of at least this level
    num_true = from_level[0].sum(axis=1)
    curves = from_level[confidence_levels(THRESHOLDS)]
    chosen_by_source = {name: _keep(own, thresholds[name]) for name, own in agreement_by_source.items()}
    chosen = sum(chosen_by_source.values(), np.zeros((num_classes, num_classes), np.int64))
    overall = [_measure(confusion, num_true) for confusion in curves]
    return Quality(
        thresholds=tuple(THRESHOLDS.tolist()),
        overall={key: tuple(measured[key] for measured in overall) for key in overall[0]},
        per_class={
            name: {
                "precision": tuple(ratio(confusion[id, id], confusion[:, id].sum()) for confusion in curves),
                "recall": tuple(ratio(confusion[id, id], num_true[id]) for confusion in curves),
            }
            for id, name in categories
        },
        calibration=_calibrate(agreement),
        at_threshold={"threshold": threshold, **_measure(chosen, num_true)},
        sources={
            name: _measure(own, agreement_by_source[name].sum(axis=(0, 2)))
            for name, own in chosen_by_source.items()
        }
        if len(thresholds) > 1
        else None,
    )


def _keep(
    agreement: Int[np.ndarray, "256 K K"], thresholds: Float[np.ndarray, " K"]
) -> Int[np.ndarray, "K K"]:
    """Sum up the pixels whose level reaches the threshold of the class that they are labelled as."""
    is_kept = np.arange(NUM_LEVELS)[:, None] >= confidence_levels(thresholds)
    return (agreement * is_kept[:, None, :]).sum(axis=0)


def _measure(confusion: Int[np.ndarray, "K K"], num_true: Int[np.ndarray, " K"]) -> dict[str, float | None]:
    """Sum up kept pixels, rows by true and columns by pseudo class."""
    correct, kept, known = np.trace(confusion), confusion.sum(), num_true.sum()
    return {
        "precision": ratio(correct, kept),
        "recall": ratio(correct, known),
        "miou": mean_iou(confusion),
        "coverage": ratio(kept, known),
    }


def _calibrate(agreement: Int[np.ndarray, "256 K K"]) -> Calibration:
    """Compare the confidence, the middle (q + 0.5) / 256 of its level, with the precision."""
    first = confidence_levels(CALIBRATION_EDGES[:-1])
    count = agreement.sum(axis=(1, 2))
    score_sum = count * (np.arange(NUM_LEVELS) + 0.5) / NUM_LEVELS
    num_correct = np.trace(agreement, axis1=1, axis2=2)
    return calibrate(*(np.add.reduceat(values, first) for values in (count, score_sum, num_correct)))


def check_truth(truth: Example, pseudo: Example, num_classes: int) -> None:
    """See that a true mask can be compared with a pseudo mask.

    Raises:
        InputError: there is none, it is of another size, or it holds other classes.
    """
    image_id = pseudo["image_id"]
    if "mask" not in truth:
        raise InputError(
            f"image {image_id}: its labels {sorted(truth)} hold no mask; the quality of pseudo masks can "
            "only be measured against masks"
        )
    mask, size_px = truth["mask"], pseudo["mask"].shape
    if mask.shape != size_px:
        raise InputError(
            f"image {image_id}: the true mask has {mask.shape[0]} x {mask.shape[1]} pixels, the pseudo mask "
            f"{size_px[0]} x {size_px[1]} (height x width), as the image has. Repair the true mask."
        )
    outside = np.unique(mask[(mask >= num_classes) & (mask != IGNORED)]).tolist()
    if outside:
        raise InputError(
            f"image {image_id}: the true mask holds the classes {outside[:5]} ({len(outside)}); expected "
            f"0 to {num_classes - 1}, or {IGNORED} for ignored pixels"
        )
