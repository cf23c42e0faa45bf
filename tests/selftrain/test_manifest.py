"""A manifest that was edited, cut or made by others is named and refused before anything relies on it."""

import json
import shutil

import numpy as np
import pytest

from selftrain_jax.data.records import encode_record
from selftrain_jax.data.shards import write_shard
from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.manifest import read_manifest
from selftrain_jax.tasks.detection.pseudo.source import read_pseudo_boxes
from selftrain_jax.tasks.detection.run_files import BoxTotals
from selftrain_jax.tasks.segmentation.pseudo.source import read_raw_masks
from tests.tasks.detection.pseudo.pseudo_toy import label

pytestmark = pytest.mark.tf


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("pseudo")
    label(directory)
    return directory


@pytest.fixture
def folder(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "labels")


def change(folder, **values):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in manifest.items() if value != "absent"}))


def test_what_the_job_writes_is_accepted(folder):
    assert read_manifest(folder, BoxTotals).num_images == 10
    assert len(read_pseudo_boxes(folder)) == 10


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"threshold": "absent"}, r"manifest\.json: threshold is missing; expected a number of 0 to 1"),
        ({"threshold": float("nan")}, "threshold is nan"),
        ({"threshold": True}, "threshold is True"),
        ({"score_floor": "0.5"}, "score_floor is '0.5'"),
        ({"num_images": -1}, "num_images is -1; expected a whole number from 0"),
        ({"num_boxes": 10**400}, "num_boxes is 1000"),
        ({"num_boxes": 1.5}, "num_boxes is 1.5"),
        ({"kind": ["boxes"]}, r"kind is \['boxes'\]; expected a text"),
        ({"categories": []}, "categories is"),
        ({"categories": [{"id": 1, "name": "cat"}] * 2}, "none twice"),
        ({"categories": [{"id": 10**9, "name": "cat"}]}, r"categories\[0\]\.id is 1000000000"),
        ({"categories": [{"id": 1, "name": "cat"}]}, "per_class and categories have different classes"),
        ({"per_class": {"cat": 1, "dog": 2}}, r"per_class\.cat is 1; expected an object"),
        ({"shards": [{"file": "../a", "records": 1, "bytes": 1, "sha256": ""}]}, "a name without folder"),
        ({"shards": {}}, "shards is {}"),
        ({"score_histogram": {"edges": [0, 1], "counts": [1, 2]}}, "score_histogram is"),
        ({"seconds": float("inf")}, "seconds is inf"),
        ({"num_images": 0}, "num_images, num_boxes and num_boxes_at_threshold contradict each other"),
        ({"num_boxes_at_threshold": 10**6}, "num_boxes and num_boxes_at_threshold contradict each other"),
    ],
)
def test_every_value_that_readers_rely_on_is_checked(folder, values, message):
    change(folder, **values)
    with pytest.raises(InputError, match=rf"{message}[\s\S]*run --job=pseudo_label again"):
        read_pseudo_boxes(folder)


def test_labels_that_a_newer_version_wrote_say_so(folder):
    change(folder, format_version=3, versions={"python": "3.14.0", "jax": "0.12.0"})
    with pytest.raises(
        InputError,
        match=r"manifest\.json: its format_version is 3; .* written with python 3\.14\.0, jax 0\.12",
    ):
        read_pseudo_boxes(folder)


def test_labels_of_the_first_form_open(folder):
    change(folder, kind="absent", image_size_px="absent", per_class_thresholds="absent", source="absent")
    assert len(read_pseudo_boxes(folder)) == 10


@pytest.mark.parametrize("text", ["[]", "5", "null", "[" * 200 + "]" * 200, "\udcff"])
def test_what_is_no_object_is_no_manifest(folder, text):
    (folder / "manifest.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=r"manifest\.json"):
        read_manifest(folder, BoxTotals)


@pytest.mark.parametrize("text", ["5", "{}", "[1, 2]", "null"])
def test_the_list_of_images_is_a_list_of_names(folder, text):
    (folder / "image_ids.json").write_text(text)
    with pytest.raises(InputError, match=r"image_ids\.json holds .*; expected a list of names"):
        read_pseudo_boxes(folder)


def replace_shards(folder, *records):
    """Put records of another hand into the first shard, with a manifest that agrees."""
    manifest = json.loads((folder / "manifest.json").read_text())
    path = folder / manifest["shards"][0]["file"]
    write_shard(path, records)
    size = path.stat().st_size
    change(folder, shards=[{"file": path.name, "records": len(records), "bytes": size, "sha256": "0"}])
    (folder / "image_ids.json").write_text(json.dumps([str(number) for number in range(len(records))]))


def test_boxes_of_classes_that_the_manifest_does_not_have_are_refused(folder):
    boxes = {"boxes": np.ones((1, 4), np.float32), "scores": np.ones(1, np.float32)}
    records = [
        encode_record({"image_id": "0", **boxes, "classes": np.array([class_id])}, b"x", 4, 4)
        for class_id in (7, 8, 9999)
    ]
    replace_shards(folder, *records)
    source = read_pseudo_boxes(folder)
    assert source.read_labels(0)["classes"].tolist() == [7]
    for index in (1, 2):
        with pytest.raises(InputError, match=r"a box of a class that manifest\.json does not have"):
            source.read_labels(index)


def test_masks_of_classes_that_the_manifest_does_not_have_are_refused(folder):
    maps = {"mask": np.full((4, 6), 9, np.uint8), "confidence": np.zeros((4, 6), np.uint8)}
    replace_shards(folder, encode_record({"image_id": "0", **maps}, b"x", 4, 6))
    counts = {"pixels": 24, "pixels_at_threshold": 0}
    change(
        folder,
        **{"kind": "masks", "num_pixels": 24, "num_pixels_at_threshold": 0, "coverage": 0.0},
        images_without_pixels_at_threshold=1,
        per_class={"cat": counts, "dog": counts},
        confidence_histogram={"edges": [0, 1], "counts": [24]},
    )
    source = read_raw_masks(folder)
    with pytest.raises(
        InputError, match="the mask of image 0 has the class 9; the manifest's classes end at 7"
    ):
        source.read_labels(0)
