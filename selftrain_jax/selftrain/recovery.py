"""Shards that changed on the disk after they were written: what is whole in them is used, within a limit.

`record_source.open_records` calls `find_whole_records` when a run allows bad images.
"""

from pathlib import Path

from selftrain_jax import hosts
from selftrain_jax.data.shards import read_record, walk_shard
from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.manifest import MANIFEST_FILE, Manifest, is_unchanged

LISTED = 3
Place = tuple[int, Path, int]  # place among all records of the folder, shard, offset


def find_whole_records(directory: Path, manifest: Manifest, max_damaged: int) -> list[Place]:
    """Return every record that can be read, and say how many cannot.

    A shard of another size or SHA-256 than the manifest's is read record by record, up to where a length
    is damaged or the file is cut off; records whose checksums do not agree are left out.

    Raises:
      InputError: more than `max_damaged` records are lost.
    """
    whole: list[Place] = []
    lost: list[str] = []
    first = 0
    for shard in manifest["shards"]:
        path, num_records = directory / shard["file"], shard["records"]
        places, damage = _read_shard(path, num_records, is_unchanged(path, shard))
        whole += [(first + place, path, offset) for place, offset in places]
        lost += damage
        first += num_records
    if len(lost) > max_damaged:
        raise InputError(
            f"{len(lost)} of {first} records are damaged, allowed are {max_damaged} "
            f"(config.data.max_bad_images): {'; '.join(lost[:LISTED])}. Delete these shards and "
            f"{directory / MANIFEST_FILE}, and run --job=pseudo_label again; the other shards are kept."
        )
    if lost:
        hosts.log(
            f"warning: {len(lost)} of {first} pseudo-labelled images are lost: {'; '.join(lost[:LISTED])}"
        )
    return whole


def _read_shard(path: Path, num_records: int, is_whole: bool) -> tuple[list[tuple[int, int]], list[str]]:
    """Return (place in the shard, offset) of what is whole, and a line for each record that is lost."""
    if not path.is_file():
        return [], [f"{path}: is missing"] * num_records
    offsets, broken = walk_shard(path)
    offsets = offsets[:num_records].tolist()
    if is_whole:
        return list(enumerate(offsets)), []
    lost = [broken or f"{path}: cut off"] * (num_records - len(offsets))
    good = []
    for place, offset in enumerate(offsets):
        try:
            read_record(path, offset)
            good.append((place, offset))
        except InputError as error:
            lost.append(str(error))
    return good, lost
