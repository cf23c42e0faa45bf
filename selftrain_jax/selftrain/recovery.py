"""Shards that changed on the disk after they were written: their intact records are used, within a limit.

`records.open_records` calls `read_intact_records` where a run allows bad images.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from selftrain_jax import hosts
from selftrain_jax.data.shards import read_record, walk_shard
from selftrain_jax.errors import InputError
from selftrain_jax.run_files.manifest import MANIFEST_FILE, ShardEntry
from selftrain_jax.selftrain.manifest import is_unchanged
from selftrain_jax.text import shorten_list

MAX_LISTED = 3


class RecordLocation(NamedTuple):
    """Where a record is."""

    position: int  # among all records of the folder, those that are lost included
    path: Path
    offset: int


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
        hosts.log(
            f"warning: {len(lost)} of {first} pseudo-labelled images are lost: "
            f"{shorten_list(lost, MAX_LISTED)}"
        )
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
