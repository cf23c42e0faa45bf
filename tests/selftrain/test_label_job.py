import errno
import json
import os

import jax
import numpy as np
import pytest

from selftrain_jax.data import shards
from selftrain_jax.data.records import decode_record
from selftrain_jax.errors import InputError
from selftrain_jax.tasks.detection.pseudo.labeller import to_original_pixels
from selftrain_jax.tasks.detection.pseudo.source import read_pseudo_boxes
from tests.tasks.detection.pseudo.pseudo_toy import Teacher, label, make_source

pytestmark = pytest.mark.tf


def shard_bytes(directory):
    return {path.name: path.read_bytes() for path in directory.glob("pseudo-*")}


def without_seconds(directory):
    manifest = json.loads((directory / "manifest.json").read_text())
    return {key: value for key, value in manifest.items() if key not in ("seconds", "cost")}


def test_boxes_are_divided_by_the_scale_and_clipped():
    boxes = np.array([[2, 3, 4, 6], [-1, 0, 50, 9]], np.float32)
    original = to_original_pixels(boxes, np.array([0.5, 0.25], np.float32), (20, 30))
    np.testing.assert_array_equal(original, [[4, 12, 8, 24], [0, 0, 20, 30]])


def test_records_hold_original_pixels_original_bytes_and_scores_from_the_floor(tmp_path):
    label(tmp_path)
    shard = tmp_path / "pseudo-00002-of-00003.tfrecord"  # images 8 and 9
    offsets = shards.index_shard(shard)
    assert len(offsets) == 2
    labels, encoded = decode_record(shards.read_record(shard, int(offsets[1])))
    assert labels["image_id"] == "image-9"
    assert labels["is_pseudo"]
    assert encoded == make_source(10).read_encoded(9)
    # cat [1, 1, 5, 6] and dog [-1, 2, 99, 4] over scale (0.5, 0.25), clipped to 20 x 32; no score of 0.04
    np.testing.assert_allclose(labels["boxes"], [[2, 4, 10, 24], [0, 8, 20, 16]], atol=1e-5)
    np.testing.assert_allclose(labels["scores"], [0.09, 0.3], rtol=1e-6)
    np.testing.assert_array_equal(labels["classes"], [1, 7])


def test_every_batch_has_the_static_shape_and_is_padded_with_zeros(tmp_path):
    teacher = Teacher()
    label(tmp_path, 7, teacher=teacher)  # shards of 4 and 3
    assert [batch.shape for batch in teacher.batches] == [(2, 16, 16, 3)] * 4
    assert teacher.batches[3][0].any()
    assert not teacher.batches[3][1].any()
    assert without_seconds(tmp_path)["num_images"] == 7


def test_interrupted_and_repeated_run_writes_the_same_bytes(tmp_path):
    label(tmp_path / "whole")
    killed = Teacher(fail_at_call=4)
    with pytest.raises(RuntimeError, match="killed"):
        label(tmp_path / "torn", teacher=killed)
    begun = ["pseudo-00000-of-00003.index.json", "pseudo-00000-of-00003.tfrecord"]
    assert sorted(shard_bytes(tmp_path / "torn")) == begun
    assert not (tmp_path / "torn" / "manifest.json").exists()
    (tmp_path / "torn" / "pseudo-00001-of-00003.tfrecord.tmp").write_bytes(b"half")
    again = Teacher()
    label(tmp_path / "torn", teacher=again)
    assert len(again.batches) == 3  # of 5: the first shard is not repeated
    assert shard_bytes(tmp_path / "torn") == shard_bytes(tmp_path / "whole")
    assert without_seconds(tmp_path / "torn") == without_seconds(tmp_path / "whole")


def test_finished_folder_runs_no_teacher_and_a_new_threshold_only_counts(tmp_path):
    assert label(tmp_path, threshold=0.2)["num_boxes_at_threshold"] == 10  # the dogs
    idle = Teacher(fail_at_call=0)
    assert label(tmp_path, threshold=0.2, teacher=idle)["num_boxes_at_threshold"] == 10
    assert (
        label(tmp_path, threshold=0.085, teacher=idle)["num_boxes_at_threshold"] == 11
    )  # and the cat of 0.09
    by_class = label(tmp_path, threshold=0.2, per_class_thresholds={"dog": 0.4}, teacher=idle)
    assert by_class["num_boxes_at_threshold"] == 0
    assert without_seconds(tmp_path)["per_class_thresholds"] == {"dog": 0.4}


def test_manifest_counts_what_the_teacher_found(tmp_path):
    manifest = label(tmp_path, 61, threshold=0.5)
    assert (manifest["num_images"], manifest["num_bad_images"]) == (61, 0)
    # cats of score 0.05 .. 0.60 reach the floor, 0.50 .. 0.60 the threshold; 61 dogs of 0.3
    assert manifest["per_class"]["cat"] == {"boxes_at_floor": 56, "boxes_at_threshold": 11}
    assert manifest["per_class"]["dog"] == {"boxes_at_floor": 61, "boxes_at_threshold": 0}
    assert (manifest["num_boxes"], manifest["num_boxes_at_threshold"]) == (117, 11)
    assert manifest["images_without_boxes_at_threshold"] == 50
    assert sum(manifest["score_histogram"]["counts"]) == 117
    assert len(manifest["score_histogram"]["edges"]) == 21
    assert manifest["teacher"] == {"checkpoint": "t/100", "digest": "abc", "step": 100}
    assert [shard["records"] for shard in manifest["shards"]] == [4] * 15 + [1]


def test_another_teacher_may_not_go_on_in_the_folder(tmp_path):
    label(tmp_path)
    before = shard_bytes(tmp_path)
    with pytest.raises(
        InputError,
        match=r"teacher_digest: 'abc' then, 'other' now; image_ids_sha256: .*; num_images: 10 then, 9 now",
    ) as error:
        label(tmp_path, 9, digest="other")
    assert "score_floor" not in str(error.value)
    assert shard_bytes(tmp_path) == before


def test_folder_from_before_masks_is_gone_on_with_and_read(tmp_path):
    label(tmp_path, threshold=0.2)
    for name in ("job.json", "manifest.json"):
        old = json.loads((tmp_path / name).read_text())
        assert old.pop("kind") == "boxes"
        (tmp_path / name).write_text(json.dumps(old))
    idle = Teacher(fail_at_call=0)
    assert label(tmp_path, threshold=0.2, teacher=idle)["num_boxes_at_threshold"] == 10
    assert len(read_pseudo_boxes(tmp_path, threshold=0.2)) == 10
    assert label(tmp_path, threshold=0.085, teacher=idle)["num_boxes_at_threshold"] == 11


def test_shards_of_unknown_origin_are_refused(tmp_path):
    label(tmp_path)
    (tmp_path / "job.json").unlink()
    with pytest.raises(InputError, match=r"job\.json does not exist"):
        label(tmp_path)


def test_images_that_do_not_decode_are_skipped_counted_and_listed(tmp_path):
    manifest = label(tmp_path, bad={1, 8}, max_bad_images=2)
    assert manifest["num_images"] == 8
    assert manifest["bad_images"] == ["image-1", "image-8"]
    source = read_pseudo_boxes(tmp_path)
    assert source.image_ids == tuple(f"image-{i}" for i in (0, 2, 3, 4, 5, 6, 7, 9))
    assert (source.read(6)["image"] == 7).all()


def test_too_many_bad_images_are_named_and_stay_too_many_when_repeated(tmp_path):
    with pytest.raises(InputError, match="2 images do not decode, allowed are 1: image image-1 of toy"):
        label(tmp_path, bad={1, 8}, max_bad_images=1)
    with pytest.raises(InputError, match="do not decode"):
        label(tmp_path, bad={1, 8}, max_bad_images=1)


def test_empty_source_is_refused(tmp_path):
    with pytest.raises(InputError, match="no image to label"):
        label(tmp_path, 0)


def test_teacher_that_is_not_finite_is_refused(tmp_path):
    good = Teacher()
    with pytest.raises(InputError, match="image-0: the teacher's boxes or scores are not finite"):
        label(tmp_path, teacher=lambda images: jax.tree.map(_to_nan, good(images)))


def _to_nan(array):
    return array * np.nan if array.dtype == np.float32 else array


def test_full_disk_leaves_finished_shards_only(tmp_path, monkeypatch):
    real, calls = os.replace, []

    def replace(old, new):
        calls.append(new)
        if len(calls) == 4:  # job.json, the first shard, its index, the second shard
            raise OSError(errno.ENOSPC, "No space left on device")
        real(old, new)

    monkeypatch.setattr(shards.os, "replace", replace)
    with pytest.raises(InputError, match=r"pseudo-00001-of-00003\.tfrecord: the disk is full"):
        label(tmp_path)
    begun = ["pseudo-00000-of-00003.index.json", "pseudo-00000-of-00003.tfrecord"]
    assert sorted(os.listdir(tmp_path)) == ["job.json", *begun]


def test_a_full_disk_between_shard_and_index_costs_the_index_alone(tmp_path, monkeypatch, capsys):
    label(tmp_path / "whole")
    real = os.replace

    def replace(old, new):
        if str(new).endswith("00001-of-00003.index.json"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(old, new)

    monkeypatch.setattr(shards.os, "replace", replace)
    with pytest.raises(OSError, match="No space left"):  # main.py says what to do
        label(tmp_path / "torn")
    monkeypatch.undo()
    label(tmp_path / "torn")
    assert "1 of 3 shards were read again for their index" in capsys.readouterr().out
    assert shard_bytes(tmp_path / "torn") == shard_bytes(tmp_path / "whole")
