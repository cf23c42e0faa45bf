import pathlib

import numpy as np
import pytest

from selftrain_jax.data.shards import write_shard
from selftrain_jax.errors import InputError
from selftrain_jax.run_files.manifest import ShardEntry
from selftrain_jax.selftrain.manifest import is_unchanged
from selftrain_jax.selftrain.records import read_intact_records

NUM_RECORDS = 5
FRAME = 16  # length, its checksum, the record's


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> tuple[pathlib.Path, list[ShardEntry]]:
    """Two shards of five records of 100 bytes."""
    shards = []
    for shard in range(2):
        path = tmp_path / f"pseudo-{shard}.tfrecord"
        write_shard(path, [bytes([10 * shard + number]) * 100 for number in range(NUM_RECORDS)])
        shards.append(describe(path))
    return tmp_path, shards


def describe(path: pathlib.Path) -> ShardEntry:
    import hashlib

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return ShardEntry(file=path.name, records=NUM_RECORDS, bytes=path.stat().st_size, sha256=digest)


def change(path: pathlib.Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def offset_of(record: int) -> int:
    return record * (100 + FRAME)


@pytest.mark.parametrize(
    ("damage", "kept"),
    [
        (lambda path: None, [0, 1, 2, 3, 4]),
        (lambda path: change(path, offset_of(2) + 50), [0, 1, 3, 4]),  # a record's bytes
        (lambda path: change(path, offset_of(3)), [0, 1, 2]),  # a length: what follows cannot be found
        (lambda path: path.write_bytes(path.read_bytes()[: offset_of(4) + 7]), [0, 1, 2, 3]),
        (lambda path: path.write_bytes(b""), []),
        (lambda path: path.unlink(), []),
    ],
)
def test_intact_records_keep_their_positions(folder, damage, kept, capsys) -> None:
    directory, shards = folder
    damage(directory / "pseudo-0.tfrecord")
    found = read_intact_records(directory, shards, max_damaged=5)
    assert [location.position for location in found] == [*kept, 5, 6, 7, 8, 9]
    assert [location.offset for location in found if location.position < 5] == [
        offset_of(record) for record in kept
    ]
    lost = NUM_RECORDS - len(kept)
    assert (f"{lost} of 10 pseudo-labelled images are lost" in capsys.readouterr().out) == bool(lost)
    assert is_unchanged(directory / "pseudo-0.tfrecord", shards[0]) == (not lost)


def test_more_than_the_limit_ends_the_run(folder) -> None:
    directory, shards = folder
    for record in (0, 2):
        change(directory / "pseudo-1.tfrecord", offset_of(record) + 20)
    assert len(read_intact_records(directory, shards, max_damaged=2)) == 8
    with pytest.raises(
        InputError, match=r"2 of 10 records are damaged, allowed are 1 .*byte 0 does not match"
    ):
        read_intact_records(directory, shards, max_damaged=1)


def test_random_damage_never_gives_a_wrong_record(folder) -> None:
    directory, shards = folder
    path = directory / "pseudo-0.tfrecord"
    good, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        content = bytearray(good[: rng.integers(0, len(good) + 1)])
        for place in rng.integers(0, max(len(content), 1), rng.integers(0, 3)):
            if content:
                content[place] = rng.integers(0, 256)
        path.write_bytes(content)
        for place, file, offset in read_intact_records(directory, shards, max_damaged=5):
            if place < 5:
                assert file.read_bytes()[offset + 12 : offset + 112] == bytes([place]) * 100
