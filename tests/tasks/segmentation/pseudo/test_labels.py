import json

import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.data.records import decode_record
from selftrain_jax.data.shards import index_shard, read_record
from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.label_job import write_pseudo_labels
from selftrain_jax.tasks.segmentation.pseudo.labeller import mask_labeller
from selftrain_jax.tasks.segmentation.pseudo.network import MaskNetwork
from selftrain_jax.tasks.segmentation.pseudo.source import read_raw_masks
from selftrain_jax.types import PixelLogits
from tests.tasks.detection.pseudo.pseudo_toy import label
from tests.tasks.segmentation.pseudo.mask_toy import CATEGORIES, label_masks, make_maps, make_source

pytestmark = pytest.mark.tf


def shard_bytes(directory):
    return {path.name: path.read_bytes() for path in directory.glob("pseudo-*")}


def without_seconds(directory):
    manifest = json.loads((directory / "manifest.json").read_text())
    return {key: value for key, value in manifest.items() if key not in ("seconds", "cost")}


def test_records_hold_every_pixels_class_and_confidence_and_the_original_bytes(tmp_path):
    label_masks(tmp_path)
    shard = tmp_path / "pseudo-00002-of-00003.tfrecord"  # images 8 and 9
    labels, encoded = decode_record(read_record(shard, int(index_shard(shard)[1])))
    assert (labels["image_id"], labels["is_pseudo"]) == ("image-9", True)
    assert encoded == make_source(10).read_encoded(9)
    for found, expected in zip((labels["mask"], labels["confidence"]), make_maps(9), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_manifest_counts_pixels_as_a_loop_does(tmp_path):
    manifest = label_masks(tmp_path, threshold=0.5, per_class_thresholds={"dog": 0.8})
    assert manifest["kind"] == "masks"
    assert manifest["sizes_px"] == [32, 64]
    assert (manifest["num_images"], manifest["num_bad_images"]) == (10, 0)
    least = {0: 128, 1: 128, 3: 205}
    all_pixels, kept, empty = dict.fromkeys(least, 0), dict.fromkeys(least, 0), 0
    for index in range(10):
        mask, confidence = make_maps(index)
        before = sum(kept.values())
        for class_id, q in zip(mask.ravel().tolist(), confidence.ravel().tolist(), strict=True):
            all_pixels[class_id] += 1
            kept[class_id] += q >= least[class_id]
        empty += sum(kept.values()) == before
    assert manifest["per_class"] == {
        name: {"pixels": all_pixels[id], "pixels_at_threshold": kept[id]} for id, name in CATEGORIES
    }
    assert manifest["images_without_pixels_at_threshold"] == empty == 1
    assert manifest["num_pixels"] == sum(all_pixels.values())
    assert manifest["coverage"] == sum(kept.values()) / sum(all_pixels.values())
    assert manifest["teacher"]["digest"] == "abc"
    assert [shard["records"] for shard in manifest["shards"]] == [4, 4, 2]


def test_new_threshold_only_counts_and_gives_what_a_new_folder_would(tmp_path):
    label_masks(tmp_path / "moved", threshold=0.5)
    label_masks(tmp_path / "new", threshold=0.7)
    label_masks(tmp_path / "moved", threshold=0.7, fail_at_chunk=0)  # the teacher is not asked
    assert without_seconds(tmp_path / "moved") == without_seconds(tmp_path / "new")
    assert shard_bytes(tmp_path / "moved") == shard_bytes(tmp_path / "new")


def test_interrupted_and_repeated_run_writes_the_same_bytes(tmp_path):
    label_masks(tmp_path / "whole")
    with pytest.raises(RuntimeError, match="killed"):
        label_masks(tmp_path / "torn", fail_at_chunk=3)
    assert sorted(path.name for path in (tmp_path / "torn").iterdir()) == [
        "job.json",
        "pseudo-00000-of-00003.index.json",
        "pseudo-00000-of-00003.tfrecord",
    ]
    label_masks(tmp_path / "torn")
    assert shard_bytes(tmp_path / "torn") == shard_bytes(tmp_path / "whole")
    assert without_seconds(tmp_path / "torn") == without_seconds(tmp_path / "whole")


def test_images_that_do_not_decode_are_skipped_counted_and_listed(tmp_path):
    manifest = label_masks(tmp_path, bad={1, 8}, max_bad_images=2)
    assert (manifest["num_images"], manifest["bad_images"]) == (8, ["image-1", "image-8"])
    with pytest.raises(InputError, match="2 images do not decode, allowed are 1"):
        label_masks(tmp_path / "strict", bad={1, 8}, max_bad_images=1)


def test_boxes_and_masks_may_not_share_a_folder(tmp_path):
    label(tmp_path / "boxes")
    with pytest.raises(InputError, match=r"another job .*kind: 'boxes' then, 'masks' now"):
        label_masks(tmp_path / "boxes")
    label_masks(tmp_path / "masks")
    with pytest.raises(InputError, match=r"another job .*kind: 'masks' then, 'boxes' now"):
        label(tmp_path / "masks")


def make_network(max_side_px=128):
    """Every pixel is a cat of confidence 200/256."""

    def label(logits, scaled_px, target_px, canvas_px, is_mirrored):
        shape = (2, canvas_px, canvas_px)
        return jnp.full(shape, 1, jnp.uint8), jnp.full(shape, 200, jnp.uint8), jnp.ones(2, bool)

    return MaskNetwork(
        load=lambda image, size_px: (np.zeros((size_px, size_px, 3), np.uint8), np.array([size_px, size_px])),
        models=(lambda fitted: PixelLogits(jnp.zeros((2, *fitted.images[0, ::4, ::4, 0].shape, 4))),),
        label=label,
        batch_size=2,
        sizes_px=(32, 64),
        flip=True,
        max_side_px=max_side_px,
    )


def label_by_network(directory, **kwargs):
    source = make_source(3)
    return write_pseudo_labels(
        directory=directory,
        source=source,
        labeller=mask_labeller(source, make_network(**kwargs), num_threads=2),
        categories=CATEGORIES,
        provenance={"teacher": {"checkpoint": "t/100", "digest": "abc", "step": 100}},
    ).to_json()


def test_network_labels_a_folder_that_says_how_it_was_labelled(tmp_path):
    manifest = label_by_network(tmp_path, max_side_px=128)
    assert [manifest[key] for key in ("sizes_px", "flip", "max_side_px")] == [[32, 64], True, 128]
    assert manifest["per_class"]["cat"]["pixels_at_threshold"] == (6 + 7 + 8) * 9
    assert manifest["coverage"] == 1.0
    for index in range(3):
        labels = read_raw_masks(tmp_path).read_labels(index)
        np.testing.assert_array_equal(labels["mask"], np.full((6 + index, 9), 1))
        np.testing.assert_array_equal(labels["confidence"], np.full((6 + index, 9), 200))
    with pytest.raises(InputError, match=r"another job .*max_side_px: 128 then, 64 now"):
        label_by_network(tmp_path, max_side_px=64)
