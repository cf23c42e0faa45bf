"""The records of a finished folder as a source, labels as they are stored; call `open_records`.

`tasks/<task>/pseudo/source.py` applies thresholds to them. Where a run allows bad images, the intact records
of shards that changed on the disk are used, within that limit.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from selftrain_jax import hosts
from selftrain_jax.data.records import decode_record, read_encoded
from selftrain_jax.data.shards import read_record, walk_shard
from selftrain_jax.data.source import Source, decode_image
from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json, show
from selftrain_jax.run_files.manifest import MANIFEST_FILE, Manifest, ShardEntry
from selftrain_jax.selftrain.manifest import IMAGE_IDS_FILE, is_unchanged, verify_shards
from selftrain_jax.text import shorten_list
from selftrain_jax.types import Example

MAX_LISTED = 3


class RecordLocation(NamedTuple):
    """Where a record is."""

    position: int  # among all records of the folder, those that are lost included
    path: Path
    offset: int


def open_records(
    directory: Path, manifest: Manifest, *, verify_digests: bool = True, max_damaged: int = 0
) -> Source:
    """Give random access over all shards, of which the disk may have lost up to `max_damaged` records.

    Raises:
        InputError: the folder is damaged.
    """
    if max_damaged:
        locations = read_intact_records(directory, manifest.shards, max_damaged)
    else:
        locations = _locate_all(directory, manifest.shards, verify_digests)
    image_ids = _read_image_ids(directory, sum(shard.records for shard in manifest.shards))
    ids = [category.id for category in manifest.categories]

    def read_labels(index: int) -> Example:
        _, path, offset = locations[index]
        labels, _ = decode_record(read_record(path, offset), f"{path}@{offset}")
        if not np.isin(labels.get("classes", []), ids).all():
            raise InputError(
                f"{path}@{offset}: a box of a class that {MANIFEST_FILE} does not have; label again"
            )
        return labels

    def read_image_bytes(index: int) -> bytes:
        _, path, offset = locations[index]
        return read_encoded(read_record(path, offset), f"{path}@{offset}")

    def read_image(index: int) -> np.ndarray:
        _, path, offset = locations[index]
        return decode_image(read_image_bytes(index), f"{path}@{offset}")

    return Source(
        name=f"pseudo:{directory}",
        categories=manifest.categories,
        image_ids=tuple(image_ids[location.position] for location in locations),
        read_labels=read_labels,
        read_encoded=read_image_bytes,
        read_image=read_image,
    )


def _locate_all(directory: Path, shards: Sequence[ShardEntry], verify_digests: bool) -> list[RecordLocation]:
    offsets = verify_shards(directory, shards, digests=verify_digests)
    files = [
        (directory / shard.file, int(offset))
        for shard, offsets_of_shard in zip(shards, offsets, strict=True)
        for offset in offsets_of_shard
    ]
    return [RecordLocation(position, *file) for position, file in enumerate(files)]


def _read_image_ids(directory: Path, num_records: int) -> tuple[str, ...]:
    path = directory / IMAGE_IDS_FILE
    hint = f"delete {MANIFEST_FILE} and run --job=pseudo_label again; the shards are kept"
    image_ids = read_json(path, hint)
    if not isinstance(image_ids, list) or not all(isinstance(image_id, str) for image_id in image_ids):
        raise InputError(f"{path} holds {show(image_ids)}; expected a list of names: {hint}")
    if len(image_ids) != num_records:
        raise InputError(f"{path} names {len(image_ids)} images, the shards hold {num_records}: {hint}")
    return tuple(image_ids)


def read_intact_records(
    directory: Path, shards: Sequence[ShardEntry], max_damaged: int
) -> list[RecordLocation]:
    """Find every record that can be read, and log how many cannot.

    A shard whose size or SHA-256 differs from the manifest's is read record by record, up to a damaged
    length or to where the file was cut off; records with a wrong checksum are left out.

    Raises:
        InputError: more than `max_damaged` records are lost.
    """
    intact: list[RecordLocation] = []
    lost: list[str] = []
    first = 0
    for shard in shards:
        path = directory / shard.file
        found, damage = _read_shard(path, shard)
        intact += [RecordLocation(first + position, path, offset) for position, offset in found]
        lost += damage
        first += shard.records
    if len(lost) > max_damaged:
        raise InputError(
            f"{len(lost)} of {first} records are damaged, allowed are {max_damaged} "
            f"(config.data.max_bad_images): {shorten_list(lost, MAX_LISTED)}. Delete these shards and "
            f"{directory / MANIFEST_FILE}, and run --job=pseudo_label again; the other shards are kept."
        )
    if lost:
        listed = shorten_list(lost, MAX_LISTED)
        hosts.log(f"warning: {len(lost)} of {first} pseudo-labelled images are lost: {listed}")
    return intact


def _read_shard(path: Path, shard: ShardEntry) -> tuple[list[tuple[int, int]], list[str]]:
    """Return (position in the shard, offset) of intact records, and a line for each that is lost."""
    if not path.is_file():
        return [], [f"{path}: is missing"] * shard.records
    offsets, broken = walk_shard(path)
    offsets = offsets[: shard.records].tolist()
    if is_unchanged(path, shard):
        return list(enumerate(offsets)), []
    lost = [broken or f"{path}: cut off"] * (shard.records - len(offsets))
    intact = []
    for position, offset in enumerate(offsets):
        try:
            read_record(path, offset)
            intact.append((position, offset))
        except InputError as error:
            lost.append(str(error))
    return intact, lost
