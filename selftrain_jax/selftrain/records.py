"""The records of a finished folder as a source, labels as they are stored (Paper: Section 3.1).

`pseudo_source.py` and `mask_source.py` apply thresholds to what `open_records` gives.
"""

from pathlib import Path

import numpy as np

from selftrain_jax.data.records import decode_record
from selftrain_jax.data.shards import read_record
from selftrain_jax.data.source import Source, decode_image
from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json, show
from selftrain_jax.selftrain.manifest import IMAGE_IDS_FILE, MANIFEST_FILE, Manifest, verify_shards
from selftrain_jax.selftrain.recovery import Place, find_whole_records
from selftrain_jax.types import Category, Example


def open_records(
    directory: Path, manifest: Manifest, *, verify_digests: bool = True, max_damaged: int = 0
) -> Source:
    """Give random access over all shards, of which the disk may have lost up to `max_damaged` records.

    Raises:
      InputError: the folder is damaged.
    """
    if max_damaged:
        found = find_whole_records(directory, manifest, max_damaged)
    else:
        found = _all_records(directory, manifest, verify_digests)
    places = [(path, offset) for _, path, offset in found]
    image_ids = _read_image_ids(directory, sum(shard["records"] for shard in manifest["shards"]))
    categories = tuple(Category(entry["id"], entry["name"]) for entry in manifest["categories"])
    ids = [category.id for category in categories]

    def read(index: int) -> tuple[Example, bytes]:
        path, offset = places[index]
        labels, encoded = decode_record(read_record(path, offset), f"{path}@{offset}")
        if not np.isin(labels.get("classes", []), ids).all():
            raise InputError(
                f"{path}@{offset}: a box of a class that {MANIFEST_FILE} does not have; label again"
            )
        return labels, encoded

    return Source(
        name=f"pseudo:{directory}",
        categories=categories,
        image_ids=tuple(image_ids[place] for place, _, _ in found),
        read_labels=lambda index: read(index)[0],
        read_encoded=lambda index: read(index)[1],
        read_image=lambda index: decode_image(read(index)[1], f"{places[index][0]}@{places[index][1]}"),
    )


def _all_records(directory: Path, manifest: Manifest, verify_digests: bool) -> list[Place]:
    offsets = verify_shards(directory, manifest, digests=verify_digests)
    files = [
        (directory / shard["file"], int(offset))
        for shard, of_shard in zip(manifest["shards"], offsets, strict=True)
        for offset in of_shard
    ]
    return [(place, *file) for place, file in enumerate(files)]


def _read_image_ids(directory: Path, num_records: int) -> tuple[str, ...]:
    path = directory / IMAGE_IDS_FILE
    hint = "delete manifest.json and run --job=pseudo_label again; the shards are kept"
    image_ids = read_json(path, hint)
    if not isinstance(image_ids, list) or not all(isinstance(image_id, str) for image_id in image_ids):
        raise InputError(f"{path} holds {show(image_ids)}; expected a list of names: {hint}")
    if len(image_ids) != num_records:
        raise InputError(f"{path} names {len(image_ids)} images, the shards hold {num_records}: {hint}")
    return tuple(image_ids)
