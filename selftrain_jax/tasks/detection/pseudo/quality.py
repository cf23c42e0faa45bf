"""How good the pseudo boxes are, where the truth is known after all.

Call `write_quality` on a finished folder and the labels that were withheld from the teacher;
`selftrain.quality.suggest_thresholds` reads the best threshold of each class off the result.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from selftrain_jax.data.named_sources import source_of
from selftrain_jax.data.source import Source
from selftrain_jax.geometry import box_iou
from selftrain_jax.io import write_json
from selftrain_jax.run_files.quality import QUALITY_FILE, Calibration, Curve, Quality
from selftrain_jax.selftrain.checks import SourceThresholds, class_thresholds
from selftrain_jax.selftrain.manifest import read_manifest
from selftrain_jax.selftrain.quality import (
    CALIBRATION_EDGES,
    calibrate,
    of_known_truth,
    pair_with_truth,
    ratio,
)
from selftrain_jax.tasks.detection.pseudo.source import read_pseudo_boxes
from selftrain_jax.tasks.detection.run_files import BoxTotals
from selftrain_jax.text import FIRST_SOURCE
from selftrain_jax.types import Category, Example

THRESHOLDS = np.round(np.arange(0.05, 0.96, 0.05), 2)

TRUE, FALSE, UNJUDGED = 1, 0, -1


class Judged(NamedTuple):
    """All pseudo boxes of all images, less the unjudged ones, and how much truth there was."""

    scores: np.ndarray
    classes: np.ndarray
    is_true: np.ndarray
    num_truth: np.ndarray  # by Category.id


def write_quality(
    directory: Path,
    truth: Source,
    *,
    threshold: float = 0.5,
    per_class_thresholds: Mapping[str, float] | None = None,
    thresholds_by_source: Mapping[str, SourceThresholds] | None = None,
) -> Quality:
    """Compare the boxes of a finished folder, from the score floor on, with `truth`; write quality.json.

    Of several sources of images those are compared that `truth` has images of, each at its thresholds.

    Raises:
        InputError: the folder is unfinished or holds masks, or `truth` has other classes or lacks an image.
    """
    floor = read_manifest(directory, BoxTotals).labels.settings.score_floor
    pseudo = read_pseudo_boxes(directory, threshold=floor)
    first = SourceThresholds(threshold, per_class_thresholds or {})
    by_source = {FIRST_SOURCE: first, **(thresholds_by_source or {})}
    pairs = pair_with_truth(of_known_truth(pseudo, truth, by_source), truth)
    thresholds = {name: class_thresholds(pseudo.categories, *own) for name, own in by_source.items()}
    quality = measure_sources(pairs, pseudo.categories, thresholds, threshold=threshold)
    write_json(directory / QUALITY_FILE, quality.to_json())
    return quality


def measure_quality(
    pairs: Iterable[tuple[Example, Example]],
    categories: Sequence[Category],
    *,
    threshold: float = 0.5,
    thresholds: np.ndarray | None = None,
    iou: float = 0.5,
) -> Quality:
    """Precision and recall against the score threshold, and calibration, of (truth, pseudo) pairs.

    precision(t) = true boxes of score >= t / boxes of score >= t; recall(t) = the same over all
    truth. None where there is nothing to divide by. `thresholds` by Category.id replaces
    `threshold` under "at_threshold".
    """
    if thresholds is None:
        thresholds = class_thresholds(categories, threshold, None)
    return measure_sources(pairs, categories, {FIRST_SOURCE: thresholds}, threshold=threshold, iou=iou)


def measure_sources(
    pairs: Iterable[tuple[Example, Example]],
    categories: Sequence[Category],
    thresholds: Mapping[str, np.ndarray],
    *,
    threshold: float = 0.5,
    iou: float = 0.5,
) -> Quality:
    """Do so for images of several sources, at the thresholds (by Category.id) of each.

    What is said by source is `sources`; all else is of all boxes together.
    """
    num_classes = 1 + max(category.id for category in categories)
    groups = itertools.groupby(pairs, lambda pair: source_of(pair[1]["image_id"], thresholds))
    by_source = [(name, judge_all(group, num_classes, iou)) for name, group in groups]
    found = [own for _, own in by_source] or [judge_all((), num_classes, iou)]
    judged = _concatenate(found)
    is_kept = [own.scores >= thresholds[name][own.classes] for name, own in by_source]
    kept = np.concatenate(is_kept) if is_kept else np.zeros(0, bool)
    num_truth = int(judged.num_truth.sum())
    return Quality(
        iou=iou,
        thresholds=tuple(THRESHOLDS.tolist()),
        overall=_curves(judged.scores, judged.is_true, num_truth),
        per_class={
            name: _curves(
                judged.scores[judged.classes == id],
                judged.is_true[judged.classes == id],
                int(judged.num_truth[id]),
            )
            for id, name in categories
        },
        calibration=_calibrate(judged.scores, judged.is_true),
        at_threshold={"threshold": threshold, **_at_threshold(judged, kept)},
        sources={
            name: _at_threshold(own, own_kept)
            for (name, own), own_kept in zip(by_source, is_kept, strict=True)
        }
        if len(thresholds) > 1
        else None,
    )


def _at_threshold(judged: Judged, kept: np.ndarray) -> dict[str, float | None]:
    """Return precision and recall of the boxes that are kept."""
    num_true = int(judged.is_true[kept].sum())
    return {
        "precision": ratio(num_true, int(kept.sum())),
        "recall": ratio(num_true, int(judged.num_truth.sum())),
    }


def _concatenate(parts: Sequence[Judged]) -> Judged:
    scores, classes, is_true = (np.concatenate(values) for values in list(zip(*parts, strict=True))[:3])
    return Judged(scores, classes, is_true, np.sum([part.num_truth for part in parts], axis=0))


def judge_boxes(truth: Example, pseudo: Example, iou: float = 0.5) -> Int[np.ndarray, " N"]:
    """Judge each pseudo box TRUE, FALSE or UNJUDGED.

    By descending score, a box takes the free truth of its class that it overlaps most, at IoU >= `iou`.
    A box that takes none is UNJUDGED where so much of its own area lies in a crowd or ignored truth.
    """
    is_region = _is_region(truth)
    overlap = box_iou(pseudo["boxes"], truth["boxes"], is_region)
    overlap[pseudo["classes"][:, None] != truth["classes"][None]] = 0
    verdict = np.where((overlap[:, is_region] >= iou).any(axis=1), UNJUDGED, FALSE)
    free = overlap[:, ~is_region]
    for box in np.argsort(-pseudo["scores"], kind="stable"):
        if (free[box] >= iou).any():
            verdict[box] = TRUE
            free[:, free[box].argmax()] = 0
    return verdict


def judge_all(pairs: Iterable[tuple[Example, Example]], num_classes: int, iou: float) -> Judged:
    """Judge the boxes of (truth, pseudo) pairs and count the truth of each class, regions left out."""
    scores, classes, verdicts = [np.zeros(0, np.float32)], [np.zeros(0, np.int32)], [np.zeros(0, int)]
    num_truth = np.zeros(num_classes, int)
    for truth, pseudo in pairs:
        num_truth += np.bincount(truth["classes"][~_is_region(truth)], minlength=num_classes)
        scores.append(pseudo["scores"])
        classes.append(pseudo["classes"])
        verdicts.append(judge_boxes(truth, pseudo, iou))
    verdict = np.concatenate(verdicts)
    kept = verdict != UNJUDGED
    return Judged(
        np.concatenate(scores)[kept], np.concatenate(classes)[kept], (verdict == TRUE)[kept], num_truth
    )


def _is_region(truth: Example) -> Bool[np.ndarray, " T"]:
    none = np.zeros(len(truth["boxes"]), bool)
    return truth.get("is_crowd", none) | truth.get("is_ignore", none)


def _curves(scores: np.ndarray, is_true: np.ndarray, num_truth: int) -> dict[str, Curve]:
    """Precision and recall of the boxes from each of THRESHOLDS on."""
    order = np.argsort(scores)
    below = np.searchsorted(scores[order], THRESHOLDS.astype(np.float32))
    true_below = np.concatenate([[0], np.cumsum(is_true[order])])[below]
    num_true = int(is_true.sum()) - true_below
    return {
        "precision": tuple(ratio(*pair) for pair in zip(num_true, len(scores) - below, strict=True)),
        "recall": tuple(ratio(count, num_truth) for count in num_true),
    }


def _calibrate(scores: np.ndarray, is_true: np.ndarray) -> Calibration:
    bins = np.searchsorted(CALIBRATION_EDGES.astype(np.float32)[1:-1], scores, side="right")
    count, score_sum, num_true = (
        np.bincount(bins, weights=weights, minlength=len(CALIBRATION_EDGES) - 1)
        for weights in (np.ones(len(scores)), scores, is_true)
    )
    return calibrate(count.astype(int), score_sum, num_true)
