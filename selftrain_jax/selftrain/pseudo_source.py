"""Pseudo labels as an ordinary labelled source, with the score threshold applied (Paper: Section 3.1).

Call `read_pseudo_labels` on a folder that `write_pseudo_labels` finished.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from selftrain_jax.data.records import decode_record, read_record
from selftrain_jax.data.source import Source, decode_image, subset
from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.manifest import (
    IMAGE_IDS_FILE,
    Manifest,
    class_thresholds,
    read_json,
    read_manifest,
    verify_shards,
)
from selftrain_jax.types import Category, Example


def read_pseudo_labels(
    directory: Path,
    *,
    threshold: float = 0.5,
    per_class_thresholds: Mapping[str, float] | None = None,
    ignore_below: float | None = None,
    keep_empty: bool = True,
    verify_digests: bool = True,
) -> Source:
    """Read pseudo labels of at least `threshold`; random access over all shards.

    With `ignore_below`, boxes of ignore_below <= score < threshold stay as `is_ignore`: neither
    object nor background. None is the paper's recipe: whatever is below the threshold is background.
    `keep_empty=False` drops images with no box left to learn from, which reads every record once.

    Raises:
      InputError: the folder is unfinished or damaged, or a threshold does not fit it.

    Paper: Section 3.1, hard threshold 0.5. Silent on images without a box above it: kept, as
    background, since the official loss takes images without boxes.
    """
    manifest = read_manifest(directory)
    categories = tuple(Category(entry["id"], entry["name"]) for entry in manifest["categories"])
    thresholds = class_thresholds(categories, threshold, per_class_thresholds)
    lowest = thresholds if ignore_below is None else np.full_like(thresholds, ignore_below)
    _check_thresholds(manifest, thresholds, lowest)
    offsets = verify_shards(directory, manifest, digests=verify_digests)
    places = [
        (directory / shard["file"], int(offset))
        for shard, shard_offsets in zip(manifest["shards"], offsets, strict=True)
        for offset in shard_offsets
    ]

    def read(index: int) -> tuple[Example, bytes]:
        path, offset = places[index]
        return decode_record(read_record(path, offset), f"{path}@{offset}")

    source = Source(
        name=f"pseudo:{directory}",
        categories=categories,
        image_ids=_read_image_ids(directory, len(places)),
        read_labels=lambda index: _select(read(index)[0], thresholds, lowest),
        read_encoded=lambda index: read(index)[1],
        read_image=lambda index: decode_image(read(index)[1], f"{places[index][0]}@{places[index][1]}"),
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


def _read_image_ids(directory: Path, num_records: int) -> tuple[str, ...]:
    path = directory / IMAGE_IDS_FILE
    hint = "delete manifest.json and run --job=pseudo_label again; the shards are kept"
    image_ids = tuple(read_json(path, hint))
    if len(image_ids) != num_records:
        raise InputError(f"{path} names {len(image_ids)} images, the shards hold {num_records}: {hint}")
    return image_ids


def _check_thresholds(manifest: Manifest, thresholds: np.ndarray, lowest: np.ndarray) -> None:
    floor = np.float32(manifest["score_floor"])
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
