import dataclasses
import json

import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.manifest import read_manifest
from selftrain_jax.tasks.detection.pseudo.source import (
    check_agnostic_iou,
    check_slots,
    keep_surest,
    read_pseudo_boxes,
)
from selftrain_jax.tasks.detection.run_files import BoxTotals
from tests.tasks.detection.pseudo.pseudo_toy import CATEGORIES, label

pytestmark = pytest.mark.tf


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("pseudo")
    label(directory, 55)
    return directory


def test_threshold_keeps_boxes_of_at_least_its_score(finished):
    source = read_pseudo_boxes(finished, threshold=0.5)
    assert (len(source), source.categories) == (55, CATEGORIES)
    assert source.image_ids == tuple(f"image-{i}" for i in range(55))
    assert source.read_labels(49)["boxes"].shape == (0, 4)
    labels = source.read_labels(50)  # the cat of exactly 0.5; its dog has 0.3
    assert labels["classes"].tolist() == [1]
    assert labels["is_pseudo"] is True
    assert not labels["is_ignore"].any()
    np.testing.assert_allclose(labels["boxes"], [[2, 4, 10, 24]], atol=1e-5)
    assert (source.read(50)["image"] == 50).all()


def test_thresholds_by_class(finished):
    source = read_pseudo_boxes(finished, threshold=0.5, per_class_thresholds={"dog": 0.3})
    assert source.read_labels(49)["classes"].tolist() == [7]
    assert source.read_labels(54)["classes"].tolist() == [1, 7]


def test_boxes_between_the_two_thresholds_are_ignored_not_dropped(finished):
    source = read_pseudo_boxes(finished, threshold=0.5, ignore_below=0.2)
    assert source.read_labels(10)["is_ignore"].tolist() == [True]
    assert source.read_labels(54)["is_ignore"].tolist() == [False, True]
    np.testing.assert_allclose(source.read_labels(54)["scores"], [0.54, 0.3], rtol=1e-6)


def test_all_boxes_of_an_ignored_class_are_ignored_from_the_floor_on(finished):
    source = read_pseudo_boxes(
        finished, threshold=0.5, per_class_thresholds={"dog": 1.0}, ignored_classes=["dog"]
    )
    assert source.read_labels(10)["classes"].tolist() == [7]  # the dog of 0.3; the cat of 0.1 is background
    assert source.read_labels(54)["classes"].tolist() == [1, 7]
    assert source.read_labels(54)["is_ignore"].tolist() == [False, True]
    cats = read_pseudo_boxes(finished, threshold=0.25, ignored_classes=["cat"])
    assert cats.read_labels(5)["is_ignore"].tolist() == [True, False]  # 0.05 is the floor
    assert cats.read_labels(54)["is_ignore"].tolist() == [True, False]


def test_images_without_a_box_are_kept_unless_asked(finished):
    assert len(read_pseudo_boxes(finished, threshold=0.5)) == 55
    source = read_pseudo_boxes(finished, threshold=0.5, ignore_below=0.2, keep_empty=False)
    assert source.image_ids == tuple(f"image-{i}" for i in range(50, 55))
    assert (source.read(0)["image"] == 50).all()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(threshold=0.01), "below 0.05 are not kept"),
        (dict(ignore_below=0.01), "below 0.05 are not kept"),
        (dict(ignore_below=0.6), "ignore_below 0.6 is above a score threshold"),
        (dict(per_class_thresholds={"cow": 0.5}), r"unknown classes 'cow'.*'cat', 'dog'"),
        (dict(threshold=1.5), "between 0 and 1"),
    ],
)
def test_thresholds_that_do_not_fit_are_refused(finished, kwargs, message):
    with pytest.raises(InputError, match=message):
        read_pseudo_boxes(finished, **kwargs)


def test_unfinished_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"manifest.json does not exist: .* not finished"):
        read_pseudo_boxes(tmp_path)


def damage_cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def damage_flip(path):
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "is missing"),
        (damage_cut, r"has \d+ bytes; the manifest says \d+"),
    ],
)
def test_damaged_shard_is_named_and_only_it_is_written_again(tmp_path, damage, message):
    label(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    shard = tmp_path / "pseudo-00001-of-00003.tfrecord"
    damage(shard)
    with pytest.raises(InputError, match=rf"pseudo-00001-of-00003.tfrecord {message}"):
        read_pseudo_boxes(tmp_path)
    shard.unlink(missing_ok=True)  # what the message advises
    (tmp_path / "manifest.json").unlink()
    assert label(tmp_path)["shards"] == manifest["shards"]
    assert len(read_pseudo_boxes(tmp_path)) == 10


def test_flipped_bit_is_found_when_its_record_is_read(tmp_path):
    label(tmp_path)
    damage_flip(tmp_path / "pseudo-00001-of-00003.tfrecord")
    source = read_pseudo_boxes(tmp_path)
    source.read_labels(0)
    with pytest.raises(InputError, match="checksum"):
        source.read_labels(4)


def test_image_with_more_pseudo_boxes_than_slots_is_refused_before_the_first_step(finished):
    manifest = read_manifest(finished, BoxTotals)
    # From image 30 on a cat of 0.3 and more beside the dog of 0.3; a teacher of 100 detections is not known.
    both = read_pseudo_boxes(finished, threshold=0.3)
    check_slots(both, manifest, 2)
    with pytest.raises(InputError, match=r"image-30 has 2 pseudo boxes .*--config\.image\.max_boxes=2,"):
        check_slots(both, manifest, 1)
    check_slots(read_pseudo_boxes(finished, threshold=0.31), manifest, 1)
    # Boxes that are ignored take a slot as well.
    with_ignored = read_pseudo_boxes(finished, threshold=0.5, ignore_below=0.2)
    with pytest.raises(InputError, match="has 2 pseudo boxes"):
        check_slots(with_ignored, manifest, 1)


def test_labels_of_a_teacher_that_keeps_few_detections_need_no_counting(finished):
    manifest = read_manifest(finished, BoxTotals)
    bounded = dataclasses.replace(manifest, provenance={"nms": {"max_detections": 3}})
    never = dataclasses.replace(
        read_pseudo_boxes(finished), read_labels=lambda index: pytest.fail("was read")
    )
    check_slots(never, bounded, 3)
    with pytest.raises(pytest.fail.Exception):
        check_slots(never, bounded, 2)


def test_the_surest_of_overlapping_boxes_is_kept_and_suppresses_only_while_kept():
    # In a row: each overlaps its neighbours by 1/3, the second is surest; the third is kept by its distance.
    boxes = np.array([[0, 0, 2, 10], [0, 5, 2, 15], [0, 10, 2, 20], [0, 15, 2, 25]], np.float32)
    scores = np.array([0.6, 0.9, 0.7, 0.8], np.float32)
    assert keep_surest(boxes, scores, 0.3).tolist() == [False, True, False, True]
    assert keep_surest(boxes, scores, 0.34).tolist() == [True] * 4
    assert keep_surest(boxes, np.array([0.5, 0.5, 0.1, 0.1], np.float32), 0.3).tolist() == [
        True,
        False,
        True,
        False,
    ]
    assert keep_surest(boxes[:0], scores[:0], 0.3).tolist() == []


def test_two_classes_of_one_object_become_the_surer(finished):
    def classes(index, iou, **thresholds):
        source = read_pseudo_boxes(finished, agnostic_iou=iou, **thresholds)
        return source.read_labels(index)["classes"].tolist()

    # The cat, of a hundredth of the image's number, and the dog of 0.3 overlap by 64 / 256.
    assert classes(54, 0.26, threshold=0.25) == [1, 7]
    assert classes(54, 0.24, threshold=0.25) == [1]
    assert classes(26, 0.24, threshold=0.25) == [7]
    # What is ignored is no label: it neither wins nor goes.
    assert classes(54, 0.24, threshold=0.5, ignore_below=0.2) == [1, 7]


@pytest.mark.parametrize("iou", [-0.1, 1.0])
def test_an_overlap_out_of_range_is_refused_with_its_key(iou):
    check_agnostic_iou(0.0)
    with pytest.raises(InputError, match=rf"config.pseudo.agnostic_iou={iou:g} .* such as 0.6; 0 is off"):
        check_agnostic_iou(iou)
