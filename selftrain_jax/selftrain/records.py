"""The records of a finished folder as a source, labels as they are stored; call `open_records`.

`tasks/<task>/pseudo/source.py` applies thresholds to them. A folder is opened by the sizes of its shards and
by their indexes; the bytes of a record are checked when it is read. Where a run allows bad images, the intact
records of shards that have lost others are used, within that limit.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from selftrain_jax import hosts
from selftrain_jax.data.records import decode_record, read_encoded
from selftrain_jax.data.shards import read_record, walk_shard
from selftrain_jax.data.source import Source, decode_image
from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json, show
from selftrain_jax.run_files.manifest import MANIFEST_FILE, Manifest, ShardEntry
from selftrain_jax.selftrain.manifest import IMAGE_IDS_FILE, is_unchanged, shard_mismatch
from selftrain_jax.selftrain.shard_index import read_index
from selftrain_jax.text import shorten_list
from selftrain_jax.types import Example

MAX_LISTED = 3


class RecordTable(NamedTuple):
    """Where the records of a folder are."""

    paths: tuple[Path, ...]  # of the shards
    shards: Int[np.ndarray, " N"]  # index into `paths`
    offsets: Int[np.ndarray, " N"]  # in bytes
    positions: Int[np.ndarray, " N"]  # among all records of the folder, those that are lost included

    def where(self, index: int) -> tuple[Path, int]:
        """Return the file and the offset of a record."""
        return self.paths[self.shards[index]], int(self.offsets[index])


class ShardRecords(NamedTuple):
    """What was found of a shard."""

    positions: Int[np.ndarray, " n"]  # in the shard
    offsets: Int[np.ndarray, " n"]
    lost: Sequence[str] = ()  # a line for each record that is
    note: str = ""  # why the shard's index was not used


def open_records(directory: Path, manifest: Manifest, *, max_damaged: int = 0) -> Source:
    """Give random access over all shards, of which the disk may have lost up to `max_damaged` records.

    Raises:
        InputError: the folder is damaged.
    """
    table = locate_records(directory, manifest.shards, max_damaged)
    image_ids = _read_image_ids(directory, sum(shard.records for shard in manifest.shards))
    ids = [category.id for category in manifest.categories]

    def read_labels(index: int) -> Example:
        path, offset = table.where(index)
        labels, _ = decode_record(read_record(path, offset), f"{path}@{offset}")
        if not np.isin(labels.get("classes", []), ids).all():
            raise InputError(
                f"{path}@{offset}: a box of a class that {MANIFEST_FILE} does not have; label again"
            )
        return labels

    def read_image_bytes(index: int) -> bytes:
        path, offset = table.where(index)
        return read_encoded(read_record(path, offset), f"{path}@{offset}")

    def read_image(index: int) -> np.ndarray:
        path, offset = table.where(index)
        return decode_image(read_image_bytes(index), f"{path}@{offset}")

    return Source(
        name=f"pseudo:{directory}",
        categories=manifest.categories,
        image_ids=tuple(image_ids[position] for position in table.positions.tolist()),
        read_labels=read_labels,
        read_encoded=read_image_bytes,
        read_image=read_image,
    )


def locate_records(directory: Path, shards: Sequence[ShardEntry], max_damaged: int) -> RecordTable:
    """Find every record, and log how many are lost.

    A shard of another size than the manifest's is read record by record, up to a damaged length or to where
    it was cut off; records with a wrong checksum are left out. Damage that leaves the size as it was shows
    when the record is read.

    Raises:
        InputError: more than `max_damaged` records are lost, or, where none may be, a shard has changed.
    """
    paths = tuple(directory / shard.file for shard in shards)  # plain names, as reading the manifest checks
    found = [_locate(path, shard, max_damaged) for path, shard in zip(paths, shards, strict=True)]
    _judge_lost([line for shard in found for line in shard.lost], shards, directory, max_damaged)
    if notes := [shard.note for shard in found if shard.note]:
        hosts.log(
            f"{directory}: the records of {len(notes)} of {len(shards)} shards were looked for in the shards "
            f"themselves: {shorten_list(notes, MAX_LISTED)}"
        )
    first = np.cumsum([0, *(shard.records for shard in shards)])
    counts = [len(shard.offsets) for shard in found]
    none = np.zeros(0, np.int64)
    return RecordTable(
        paths,
        np.repeat(np.arange(len(found)), counts),
        np.concatenate([none, *(shard.offsets for shard in found)]),
        np.concatenate([none, *(begin + own.positions for begin, own in zip(first, found, strict=False))]),
    )


def _locate(path: Path, shard: ShardEntry, max_damaged: int) -> ShardRecords:
    if not path.is_file():
        if not max_damaged:
            raise shard_mismatch(path, "is missing")
        none = np.zeros(0, np.int64)
        return ShardRecords(none, none, [f"{path}: is missing"] * shard.records)
    size = path.stat().st_size
    if size != shard.bytes:
        if not max_damaged:
            raise shard_mismatch(path, f"has {size} bytes; the manifest says {shard.bytes}")
        return read_intact(path, shard)
    note = ""
    try:
        offsets = np.array(read_index(path, shard).offsets, np.int64)
    except InputError as error:
        note = str(error)
        offsets, damage = walk_shard(path)
        if damage or len(offsets) != shard.records:
            if not max_damaged:
                found = damage or f"{path} holds {len(offsets)} records; the manifest says {shard.records}"
                raise InputError(found) from None
            return read_intact(path, shard)
    return ShardRecords(np.arange(len(offsets)), offsets, note=note)


def read_intact(path: Path, shard: ShardEntry) -> ShardRecords:
    """Read a whole shard, and find the records that can be read."""
    offsets, broken = walk_shard(path)
    lost = [broken or f"{path}: cut off"] * max(shard.records - len(offsets), 0)
    offsets = offsets[: shard.records]
    is_intact = np.ones(len(offsets), bool)
    for position, offset in enumerate(offsets.tolist()):
        try:
            read_record(path, offset)
        except InputError as error:
            is_intact[position] = False
            lost.append(str(error))
    return ShardRecords(np.flatnonzero(is_intact), offsets[is_intact], lost)


def find_damage(directory: Path, shards: Sequence[ShardEntry]) -> list[str]:
    """Read every byte of a finished folder; return a line for each record that is lost or was changed."""
    damage: list[str] = []
    for shard in shards:
        path = directory / shard.file
        if not path.is_file():
            damage += [f"{path}: is missing"] * shard.records
        elif not is_unchanged(path, shard):
            damage += read_intact(path, shard).lost or [f"{path}: has other bytes than when it was written"]
    return damage


def _judge_lost(lost: list[str], shards: Sequence[ShardEntry], directory: Path, max_damaged: int) -> None:
    count = sum(shard.records for shard in shards)
    listed = shorten_list(lost, MAX_LISTED)
    if len(lost) > max_damaged:
        raise InputError(
            f"{len(lost)} of {count} records are damaged, allowed are {max_damaged} "
            f"(config.data.max_bad_images): {listed}. Delete these shards and "
            f"{directory / MANIFEST_FILE}, and run --job=pseudo_label again; the other shards are kept."
        )
    if lost:
        hosts.log(f"warning: {len(lost)} of {count} pseudo-labelled images are lost: {listed}")


def _read_image_ids(directory: Path, num_records: int) -> tuple[str, ...]:
    path = directory / IMAGE_IDS_FILE
    hint = f"delete {MANIFEST_FILE} and run --job=pseudo_label again; the shards are kept"
    image_ids = read_json(path, hint)
    if not isinstance(image_ids, list) or not all(isinstance(image_id, str) for image_id in image_ids):
        raise InputError(f"{path} holds {show(image_ids)}; expected a list of names: {hint}")
    if len(image_ids) != num_records:
        raise InputError(f"{path} names {len(image_ids)} images, the shards hold {num_records}: {hint}")
    return tuple(image_ids)
