"""Pseudo boxes as an ordinary labelled source, with the score threshold applied.

Call `read_pseudo_boxes` on a folder that `write_pseudo_labels` finished.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from selftrain_jax.data.source import Source, subset
from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.manifest import read_manifest
from selftrain_jax.selftrain.records import open_records
from selftrain_jax.selftrain.thresholds import class_thresholds
from selftrain_jax.tasks.detection.run_files import BoxTotals
from selftrain_jax.types import Example


def read_pseudo_boxes(
    directory: Path,
    *,
    threshold: float = 0.5,
    per_class_thresholds: Mapping[str, float] | None = None,
    ignore_below: float | None = None,
    keep_empty: bool = True,
    verify_digests: bool = True,
    max_damaged: int = 0,
) -> Source:
    """Read pseudo boxes of at least `threshold`; random access over all shards.

    With `ignore_below`, boxes of ignore_below <= score < threshold stay as `is_ignore`: neither
    object nor background. None is the paper's recipe: whatever is below the threshold is background.
    `keep_empty=False` drops images with no box left to learn from, which reads every record once.
    Up to `max_damaged` records that the disk has lost are left out.

    Raises:
        InputError: the folder is unfinished, damaged or holds masks, or a threshold does not fit it.

    Paper: Section 3.1, hard threshold 0.5. Silent on images without a box above it: kept, as
    background, since the official loss takes images without boxes.
    """
    manifest = read_manifest(directory, BoxTotals)
    raw = open_records(directory, manifest, verify_digests=verify_digests, max_damaged=max_damaged)
    thresholds = class_thresholds(raw.categories, threshold, per_class_thresholds)
    lowest = thresholds if ignore_below is None else np.full_like(thresholds, ignore_below)
    _check_thresholds(manifest.labels.settings.score_floor, thresholds, lowest)
    source = dataclasses.replace(
        raw, read_labels=lambda index: _select(raw.read_labels(index), thresholds, lowest)
    )
    if keep_empty:
        return source
    return subset(source, [i for i in range(len(source)) if not source.read_labels(i)["is_ignore"].all()])


def _select(labels: Example, thresholds: np.ndarray, lowest: np.ndarray) -> Example:
    """Keep boxes from `lowest` on, and mark those below the threshold of their class."""
    scores, classes = labels["scores"], labels["classes"]
    kept = scores >= lowest[classes]
    return {
        "image_id": labels["image_id"],
        "boxes": labels["boxes"][kept],
        "classes": classes[kept],
        "scores": scores[kept],
        "is_ignore": (scores < thresholds[classes])[kept],
        "is_pseudo": True,
    }


def _check_thresholds(score_floor: float, thresholds: np.ndarray, lowest: np.ndarray) -> None:
    floor = np.float32(score_floor)
    if (thresholds < floor).any() or (lowest < floor).any():
        raise InputError(
            f"score thresholds down to {min(thresholds.min(), lowest.min()):.3g} were asked for, but boxes "
            f"below {floor:.3g} were not kept. Raise the threshold, or lower config.pseudo.score_floor and "
            "label again in a new folder."
        )
    if (lowest > thresholds).any():
        raise InputError(
            f"ignore_below {lowest.max():.3g} is above a score threshold ({thresholds.min():.3g}); "
            "boxes between the two would be lost. Choose a value below every threshold."
        )
