"""Pseudo masks as an ordinary labelled source, pixels below the threshold ignored.

Call `read_pseudo_masks` on a folder that `write_pseudo_labels` finished; `read_raw_masks` gives the class
and the confidence of every pixel.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Int

from selftrain_jax.data.source import Source, subset
from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.manifest import read_manifest
from selftrain_jax.selftrain.records import open_records
from selftrain_jax.selftrain.thresholds import class_thresholds
from selftrain_jax.tasks.segmentation.pseudo.confidence import confidence_levels, mask_low_confidence
from selftrain_jax.tasks.segmentation.run_files import MaskTotals
from selftrain_jax.types import IGNORED, Example


def read_pseudo_masks(
    directory: Path,
    *,
    threshold: float = 0.5,
    per_class_thresholds: Mapping[str, float] | None = None,
    keep_empty: bool = True,
    verify_digests: bool = True,
    max_damaged: int = 0,
) -> Source:
    """Read pseudo masks, IGNORED where the confidence is below the threshold of the pixel's class.

    `keep_empty=False` drops images with no pixel left to learn from, which reads every record once.
    Up to `max_damaged` records that the disk has lost are left out.

    Raises:
        InputError: the folder is unfinished, damaged or holds boxes, or a threshold does not fit it.

    Paper: Section 3.1, hard threshold 0.5. Silent on images without a pixel above it: kept, since the
    loss is finite without a valid pixel.
    """
    raw = read_raw_masks(directory, verify_digests=verify_digests, max_damaged=max_damaged)
    levels = confidence_levels(class_thresholds(raw.categories, threshold, per_class_thresholds))
    source = dataclasses.replace(raw, read_labels=lambda index: _apply_levels(raw.read_labels(index), levels))
    if keep_empty:
        return source
    kept = [index for index in range(len(source)) if (source.read_labels(index)["mask"] != IGNORED).any()]
    return subset(source, kept)


def read_raw_masks(directory: Path, *, verify_digests: bool = True, max_damaged: int = 0) -> Source:
    """Read `mask`, the likeliest class of every pixel, and its `confidence`, as they are stored.

    Raises:
        InputError: the folder is unfinished, damaged or holds boxes.
    """
    manifest = read_manifest(directory, MaskTotals)
    raw = open_records(directory, manifest, verify_digests=verify_digests, max_damaged=max_damaged)
    highest = max(category.id for category in raw.categories)
    return dataclasses.replace(
        raw, read_labels=lambda index: _require_maps(raw.read_labels(index), highest, directory)
    )


def _apply_levels(labels: Example, levels: Int[np.ndarray, " K"]) -> Example:
    kept = mask_low_confidence(labels["mask"], labels["confidence"], levels)
    return {"image_id": labels["image_id"], "mask": kept, "is_pseudo": True}


def _require_maps(labels: Example, highest_class: int, directory: Path) -> Example:
    missing = [key for key in ("mask", "confidence") if key not in labels]
    if missing:
        raise InputError(
            f"{directory}: the record of image {labels['image_id']} has no {' and no '.join(missing)}; "
            "expected the class and the confidence of every pixel. Delete the folder and run "
            "--job=pseudo_label again."
        )
    if labels["mask"].max() > highest_class:
        raise InputError(
            f"{directory}: the mask of image {labels['image_id']} has the class {labels['mask'].max()}; the "
            f"manifest's classes end at {highest_class}. Delete the folder and run --job=pseudo_label again."
        )
    return labels
