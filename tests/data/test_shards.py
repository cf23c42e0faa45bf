import errno
import hashlib
import os

import pytest
import tensorflow as tf

from selftrain_jax.data import shards
from selftrain_jax.errors import InputError

pytestmark = pytest.mark.tf


def test_tensorflow_reads_our_shards_and_we_read_tensorflows(tmp_path):
    bodies = [b"", b"a" * 10, bytes(range(256)) * 300]
    written = shards.write_shard(tmp_path / "ours", iter(bodies))
    assert [record.numpy() for record in tf.data.TFRecordDataset(str(tmp_path / "ours"))] == bodies
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for body in bodies:
            writer.write(body)
    content = (tmp_path / "theirs").read_bytes()
    assert (tmp_path / "ours").read_bytes() == content
    assert (written.num_bytes, written.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    offsets = shards.index_shard(tmp_path / "theirs")
    assert offsets.tolist() == written.offsets.tolist() == [0, 16, 42]  # 16 bytes of framing a record
    assert [shards.read_record(tmp_path / "theirs", int(offset)) for offset in offsets] == bodies


def test_empty_shard_has_no_record(tmp_path):
    assert shards.write_shard(tmp_path / "s", iter([])).offsets.size == 0
    assert shards.index_shard(tmp_path / "s").size == 0


def test_the_last_record_ends_with_the_file(tmp_path):
    path = tmp_path / "shard"
    shards.write_shard(path, iter([b"a" * 10, b"b" * 10]))
    assert [shards.ends_with_record(path, offset) for offset in (0, 25, 26, 52)] == [
        False,
        False,
        True,
        False,
    ]
    path.write_bytes(path.read_bytes() + b"more")
    assert not shards.ends_with_record(path, 26)


@pytest.mark.parametrize("kept_bytes", [26 + 5, 26 + 12, 26 + 20, 26 + 25])
def test_cut_off_shard_names_file_offset_and_sizes(tmp_path, kept_bytes):
    path = tmp_path / "shard"
    shards.write_shard(path, iter([b"a" * 10, b"b" * 10]))
    path.write_bytes(path.read_bytes()[:kept_bytes])
    expected = 12 if kept_bytes < 38 else 26
    with pytest.raises(
        InputError, match=rf"shard: .*byte 26: expected {expected} bytes, found {kept_bytes - 26}"
    ):
        shards.index_shard(path)
    with pytest.raises(InputError, match="byte 26"):
        shards.read_record(path, 26)


@pytest.mark.parametrize(("place", "part"), [(26, "length"), (34, "length"), (40, "data"), (49, "data")])
def test_flipped_bit_is_found_by_the_checksum(tmp_path, place, part):
    path = tmp_path / "shard"
    shards.write_shard(path, iter([b"a" * 10, b"b" * 10]))
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)
    assert shards.read_record(path, 0) == b"a" * 10
    with pytest.raises(InputError, match=f"the {part} of the record at byte 26"):
        shards.read_record(path, 26)


def test_failed_write_leaves_the_folder_as_it_was(tmp_path):
    def failing():
        yield b"x" * 1000
        raise RuntimeError("teacher died")

    (tmp_path / "shard.tmp").write_bytes(b"left by a killed run")
    (tmp_path / "shard").write_bytes(b"")
    with pytest.raises(RuntimeError, match="teacher died"):
        shards.write_shard(tmp_path / "shard", failing())
    assert os.listdir(tmp_path) == ["shard"]
    assert (tmp_path / "shard").read_bytes() == b""


def test_full_disk_is_said_with_the_free_space(tmp_path, monkeypatch):
    def refuse(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shards.os, "fsync", refuse)
    with pytest.raises(InputError, match=r"disk is full \(\d+ MiB free"):
        shards.write_shard(tmp_path / "shard", iter([b"x"]))
    assert os.listdir(tmp_path) == []
