import errno
import os

import numpy as np
import pytest
import tensorflow as tf

from selftrain_jax.data import records
from selftrain_jax.errors import InputError

pytestmark = pytest.mark.tf


def make_labels(rng, num_boxes, height, width):
    corners = np.sort(rng.uniform(0, 1, (num_boxes, 2, 2)), axis=1) * (height, width)
    return {
        "image_id": "köln/1.jpg",
        "boxes": corners.reshape(-1, 4).astype(np.float32),
        "classes": rng.integers(1, 91, num_boxes).astype(np.int32),
        "scores": rng.uniform(0, 1, num_boxes).astype(np.float32),
        "is_crowd": rng.uniform(size=num_boxes) < 0.5,
        "is_pseudo": True,
    }


@pytest.mark.parametrize("num_boxes", [0, 1, 50])
def test_labels_and_bytes_survive_a_round_trip(num_boxes):
    labels = make_labels(np.random.default_rng(num_boxes), num_boxes, 2999, 4001)
    decoded, encoded = records.decode_record(records.encode_record(labels, b"\xff\xd8\x00", 2999, 4001))
    assert encoded == b"\xff\xd8\x00"
    assert decoded["image_id"] == "köln/1.jpg"
    assert decoded["is_pseudo"] is True
    np.testing.assert_allclose(decoded["boxes"], labels["boxes"], atol=1e-3)
    assert decoded["boxes"].shape == (num_boxes, 4)
    for key in ("classes", "scores", "is_crowd"):
        np.testing.assert_array_equal(decoded[key], labels[key])
        assert decoded[key].dtype == labels[key].dtype


def test_human_labels_have_no_scores():
    labels = {"image_id": "a", "boxes": np.ones((1, 4), np.float32), "classes": np.array([3], np.int32)}
    decoded, _ = records.decode_record(records.encode_record(labels, b"x", 4, 4))
    assert "scores" not in decoded
    assert decoded["is_pseudo"] is False


def test_record_has_the_keys_and_units_of_the_official_release():
    labels = {
        "image_id": "7",
        "boxes": np.array([[10, 40, 20, 100]], np.float32),
        "classes": np.array([90], np.int32),
    }
    record = records.encode_record(labels, b"jpeg", height=100, width=200)
    feature = tf.train.Example.FromString(record).features.feature
    sides = [
        feature[f"image/object/bbox/{side}"].float_list.value[0] for side in ("ymin", "xmin", "ymax", "xmax")
    ]
    np.testing.assert_allclose(sides, [0.1, 0.2, 0.2, 0.5], rtol=1e-6)
    assert feature["image/object/area"].float_list.value[0] == 600  # 10 x 60 px
    assert feature["image/object/class/label"].int64_list.value[0] == 90
    assert (feature["image/height"].int64_list.value[0], feature["image/width"].int64_list.value[0]) == (
        100,
        200,
    )
    assert feature["image/source_id"].bytes_list.value[0] == b"7"


def test_same_labels_give_same_bytes():
    labels = make_labels(np.random.default_rng(0), 5, 100, 100)
    record = records.encode_record(labels, b"x", 100, 100)
    assert record == records.encode_record(labels, b"x", 100, 100)
    keys = sorted(tf.train.Example.FromString(record).features.feature)
    places = [record.find(key.encode() + b"\x12") for key in keys]  # 0x12 starts the value after its key
    assert -1 not in places
    assert places == sorted(places)  # protobuf leaves the order open unless asked, also between processes


def test_tensorflow_reads_our_shards_and_we_read_tensorflows(tmp_path):
    bodies = [b"", b"a" * 10, bytes(range(256)) * 300]
    assert records.write_shard(tmp_path / "ours", iter(bodies)) == 3
    assert [record.numpy() for record in tf.data.TFRecordDataset(str(tmp_path / "ours"))] == bodies
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for body in bodies:
            writer.write(body)
    assert (tmp_path / "theirs").read_bytes() == (tmp_path / "ours").read_bytes()
    offsets = records.index_shard(tmp_path / "theirs")
    assert offsets.tolist() == [0, 16, 42]  # 16 bytes of framing a record
    assert [records.read_record(tmp_path / "theirs", int(offset)) for offset in offsets] == bodies


def test_empty_shard_has_no_record(tmp_path):
    assert records.write_shard(tmp_path / "s", iter([])) == 0
    assert records.index_shard(tmp_path / "s").size == 0


@pytest.mark.parametrize("kept_bytes", [26 + 5, 26 + 12, 26 + 20, 26 + 25])
def test_cut_off_shard_names_file_offset_and_sizes(tmp_path, kept_bytes):
    path = tmp_path / "shard"
    records.write_shard(path, iter([b"a" * 10, b"b" * 10]))
    path.write_bytes(path.read_bytes()[:kept_bytes])
    expected = 12 if kept_bytes < 38 else 26
    with pytest.raises(
        InputError, match=rf"shard: .*byte 26: expected {expected} bytes, found {kept_bytes - 26}"
    ):
        records.index_shard(path)
    with pytest.raises(InputError, match="byte 26"):
        records.read_record(path, 26)


@pytest.mark.parametrize(("place", "part"), [(26, "length"), (34, "length"), (40, "data"), (49, "data")])
def test_flipped_bit_is_found_by_the_checksum(tmp_path, place, part):
    path = tmp_path / "shard"
    records.write_shard(path, iter([b"a" * 10, b"b" * 10]))
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)
    assert records.read_record(path, 0) == b"a" * 10
    with pytest.raises(InputError, match=f"the {part} of the record at byte 26"):
        records.read_record(path, 26)


def test_failed_write_leaves_the_folder_as_it_was(tmp_path):
    def failing():
        yield b"x" * 1000
        raise RuntimeError("teacher died")

    (tmp_path / "shard.tmp").write_bytes(b"left by a killed run")
    (tmp_path / "shard").write_bytes(b"")
    with pytest.raises(RuntimeError, match="teacher died"):
        records.write_shard(tmp_path / "shard", failing())
    assert os.listdir(tmp_path) == ["shard"]
    assert (tmp_path / "shard").read_bytes() == b""


def test_full_disk_is_said_with_the_free_space(tmp_path, monkeypatch):
    def refuse(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(records.os, "fsync", refuse)
    with pytest.raises(InputError, match=r"disk is full \(\d+ MiB free"):
        records.write_shard(tmp_path / "shard", iter([b"x"]))
    assert os.listdir(tmp_path) == []


def test_foreign_record_is_named(tmp_path):
    with pytest.raises(InputError, match=r"f@0: no image/encoded, image/source_id"):
        records.decode_record(tf.train.Example().SerializeToString(), "f@0")
    with pytest.raises(InputError, match=r"f@0: not a tf.train.Example"):
        records.decode_record(b"\xff\xff\xff", "f@0")
