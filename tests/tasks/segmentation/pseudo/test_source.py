import json

import numpy as np
import pytest

from selftrain_jax.data import shards
from selftrain_jax.data.records import encode_record
from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.manifest import read_manifest
from selftrain_jax.tasks.detection.pseudo.quality import write_quality
from selftrain_jax.tasks.detection.pseudo.source import read_pseudo_boxes
from selftrain_jax.tasks.segmentation.pseudo.quality import write_mask_quality
from selftrain_jax.tasks.segmentation.pseudo.source import read_pseudo_masks, read_raw_masks
from selftrain_jax.tasks.segmentation.run_files import MaskTotals
from tests.tasks.detection.pseudo.pseudo_toy import label
from tests.tasks.segmentation.pseudo.mask_toy import CATEGORIES, label_masks, make_maps, make_source

pytestmark = pytest.mark.tf


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("masks")
    label_masks(directory, 10)
    return directory


@pytest.mark.parametrize(("threshold", "least"), [(0.0, 0), (0.5, 128), (0.7, 180), (1.0, 256)])
def test_pixels_below_the_threshold_are_ignored_and_no_others(finished, threshold, least):
    source = read_pseudo_masks(finished, threshold=threshold)
    assert (len(source), source.categories) == (10, CATEGORIES)
    for index in range(10):
        mask, confidence = make_maps(index)
        for place in np.ndindex(mask.shape):
            if confidence[place] < least:
                mask[place] = 255
        labels = source.read_labels(index)
        assert set(labels) == {"image_id", "mask", "is_pseudo"}
        assert (labels["image_id"], labels["is_pseudo"]) == (f"image-{index}", True)
        np.testing.assert_array_equal(labels["mask"], mask)
        assert labels["mask"].dtype == np.uint8


def test_thresholds_by_class(finished):
    source = read_pseudo_masks(finished, threshold=0.0, per_class_thresholds={"cat": 1.0, "dog": 0.5})
    mask, confidence = make_maps(4)
    expected = np.where(mask == 1, 255, np.where((mask == 3) & (confidence < 128), 255, mask))
    np.testing.assert_array_equal(source.read_labels(4)["mask"], expected)


def test_raw_masks_are_what_the_teacher_said(finished):
    raw = read_raw_masks(finished)
    assert raw.image_ids == tuple(f"image-{i}" for i in range(10))
    for index in range(10):
        example = raw.read(index)
        mask, confidence = make_maps(index)
        np.testing.assert_array_equal(example["mask"], mask)
        np.testing.assert_array_equal(example["confidence"], confidence)
        np.testing.assert_array_equal(example["image"], make_source(10).read_image(index))


def test_images_without_a_pixel_are_kept_unless_asked(finished):
    assert (read_pseudo_masks(finished, threshold=0.5).read_labels(3)["mask"] == 255).all()
    source = read_pseudo_masks(finished, threshold=0.5, keep_empty=False)
    assert source.image_ids == tuple(f"image-{i}" for i in range(10) if i != 3)
    np.testing.assert_array_equal(source.read(3)["image"][..., 0], make_maps(4)[0])


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(per_class_thresholds={"cow": 0.5}), r"unknown classes 'cow'.*'cat', 'dog'"),
        (dict(threshold=1.5), "between 0 and 1"),
    ],
)
def test_thresholds_that_do_not_fit_are_refused(finished, kwargs, message):
    with pytest.raises(InputError, match=message):
        read_pseudo_masks(finished, **kwargs)


def test_unfinished_and_damaged_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"manifest.json does not exist: .* not finished"):
        read_pseudo_masks(tmp_path)
    label_masks(tmp_path)
    (tmp_path / "pseudo-00001-of-00003.tfrecord").unlink()
    with pytest.raises(InputError, match=r"pseudo-00001-of-00003.tfrecord is missing"):
        read_pseudo_masks(tmp_path)


def test_masks_are_not_read_as_boxes_nor_boxes_as_masks(finished, tmp_path):
    label(tmp_path)
    for read in (read_pseudo_masks, read_raw_masks, lambda path: write_mask_quality(path, make_source(1))):
        with pytest.raises(InputError, match="holds pseudo boxes, expected pseudo masks"):
            read(tmp_path)
    for read in (read_pseudo_boxes, lambda path: write_quality(path, make_source(1))):
        with pytest.raises(InputError, match="holds pseudo masks, expected pseudo boxes"):
            read(finished)
    assert read_manifest(finished, MaskTotals).to_json()["kind"] == "masks"


def test_record_without_confidence_is_named(tmp_path):
    label_masks(tmp_path, 1)
    mask, _ = make_maps(0)
    record = encode_record({"image_id": "image-0", "mask": mask}, b"x", *mask.shape)
    shards.write_shard(tmp_path / "pseudo-00000-of-00001.tfrecord", [record])
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["shards"][0]["bytes"] = (tmp_path / "pseudo-00000-of-00001.tfrecord").stat().st_size
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="image image-0 has no confidence; expected"):
        read_pseudo_masks(tmp_path).read_labels(0)
