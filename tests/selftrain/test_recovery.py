import hashlib
import pathlib

import numpy as np
import pytest

from selftrain_jax.data.shards import write_shard
from selftrain_jax.errors import InputError
from selftrain_jax.run_files.manifest import ShardEntry
from selftrain_jax.selftrain.manifest import is_unchanged
from selftrain_jax.selftrain.records import locate_records, read_intact

NUM_RECORDS = 5
FRAME = 16  # length, its checksum, the record's


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> tuple[pathlib.Path, list[ShardEntry]]:
    """Two shards of five records of 100 bytes, without indexes."""
    shards = []
    for shard in range(2):
        path = tmp_path / f"pseudo-{shard}.tfrecord"
        write_shard(path, [bytes([10 * shard + number]) * 100 for number in range(NUM_RECORDS)])
        shards.append(describe(path))
    return tmp_path, shards


def describe(path: pathlib.Path) -> ShardEntry:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return ShardEntry(file=path.name, records=NUM_RECORDS, bytes=path.stat().st_size, sha256=digest)


def change(path: pathlib.Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def offset_of(record: int) -> int:
    return record * (100 + FRAME)


def cut(path: pathlib.Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


@pytest.mark.parametrize(
    ("damage", "kept"),
    [
        (lambda path: None, [0, 1, 2, 3, 4]),
        (lambda path: change(path, offset_of(3)), [0, 1, 2]),  # a length: what follows cannot be found
        (lambda path: cut(path, offset_of(4) + 7), [0, 1, 2, 3]),
        (lambda path: (change(path, offset_of(2) + 50), cut(path, offset_of(4) + 7)), [0, 1, 3]),
        (lambda path: path.write_bytes(b""), []),
        (lambda path: path.unlink(), []),
    ],
)
def test_intact_records_keep_their_positions(folder, damage, kept, capsys) -> None:
    directory, shards = folder
    damage(directory / "pseudo-0.tfrecord")
    table = locate_records(directory, shards, max_damaged=5)
    assert table.positions.tolist() == [*kept, 5, 6, 7, 8, 9]
    assert table.offsets.tolist() == [offset_of(record) for record in (*kept, 0, 1, 2, 3, 4)]
    assert table.shards.tolist() == [0] * len(kept) + [1] * 5
    lost = NUM_RECORDS - len(kept)
    assert (f"{lost} of 10 pseudo-labelled images are lost" in capsys.readouterr().out) == bool(lost)
    assert is_unchanged(directory / "pseudo-0.tfrecord", shards[0]) == (not lost)


def test_damage_that_leaves_the_size_is_found_in_the_whole_file(folder) -> None:
    directory, shards = folder
    path = directory / "pseudo-0.tfrecord"
    change(path, offset_of(2) + 50)
    assert len(locate_records(directory, shards, max_damaged=0).positions) == 10
    assert not is_unchanged(path, shards[0])
    found = read_intact(path, shards[0])
    assert found.positions.tolist() == [0, 1, 3, 4]
    (line,) = found.lost
    assert f"byte {offset_of(2)} does not match its checksum" in line


def test_more_than_the_limit_ends_the_run(folder) -> None:
    directory, shards = folder
    cut(directory / "pseudo-1.tfrecord", offset_of(3))
    assert len(locate_records(directory, shards, max_damaged=2).positions) == 8
    with pytest.raises(InputError, match=r"2 of 10 records are damaged, allowed are 1 .*cut off"):
        locate_records(directory, shards, max_damaged=1)
    with pytest.raises(InputError, match=r"pseudo-1.tfrecord has 348 bytes; the manifest says 580"):
        locate_records(directory, shards, max_damaged=0)


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
        found = read_intact(path, shards[0])
        assert len(found.positions) + len(found.lost) == NUM_RECORDS
        for position, offset in zip(found.positions, found.offsets, strict=True):
            assert path.read_bytes()[offset + 12 : offset + 112] == bytes([position]) * 100
