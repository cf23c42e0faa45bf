"""Indexes beside the shards say what reading the shards says, and are never trusted where they do not fit."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from selftrain_jax.data.records import decode_record
from selftrain_jax.data.shards import index_shard, read_record, write_shard
from selftrain_jax.errors import InputError
from selftrain_jax.io import hash_file
from selftrain_jax.run_files.shard_index import index_path
from selftrain_jax.selftrain.checks import SourceThresholds
from selftrain_jax.selftrain.label_job import recount_labels
from selftrain_jax.selftrain.shard_index import (
    complete_indexes,
    count_with,
    index_anew,
    read_index,
    restore_counts,
)
from selftrain_jax.tasks.detection.pseudo.labeller import count_boxes
from selftrain_jax.tasks.detection.pseudo.source import read_pseudo_boxes
from tests.selftrain.test_source_counts import MORE, label_both
from tests.tasks.detection.pseudo.pseudo_toy import CATEGORIES, label, make_labeller, make_source
from tests.tasks.segmentation.pseudo import mask_toy

pytestmark = pytest.mark.tf


def shards_of(directory: pathlib.Path) -> list[pathlib.Path]:
    return sorted(directory.glob("*.tfrecord"))


def read_all(path: pathlib.Path) -> list:
    offsets = index_shard(path).tolist()
    return [decode_record(read_record(path, offset))[0] for offset in offsets]


def count_at(threshold: float):
    labeller = make_labeller(make_source(10))
    return count_with(labeller, CATEGORIES, {"unlabeled": SourceThresholds(threshold, {})})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("boxes")
    label(directory, 10, bad={1}, max_bad_images=1)
    return directory


@pytest.fixture
def folder(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "labels")


def test_an_index_written_with_the_shard_is_what_the_shard_says(folder) -> None:
    for path in shards_of(folder):
        index, examples = read_index(path), read_all(path)
        assert index.offsets == tuple(index_shard(path).tolist())
        assert index.image_ids == tuple(example["image_id"] for example in examples)
        assert (index.bytes, index.sha256) == (path.stat().st_size, hash_file(path))
        (counts,) = (own.counts for own in index.sources.values())
        expected = count_boxes(examples, np.full(8, 0.5, np.float32))
        assert counts == {name: np.asarray(n).tolist() for name, n in expected._asdict().items()}


def test_an_index_made_anew_is_the_one_written_with_the_shard(tmp_path) -> None:
    manifest = label_both(tmp_path)  # masks of two sources
    thresholds = {"unlabeled": SourceThresholds(0.5, {}), "more": MORE}
    labeller = mask_toy.make_labeller(mask_toy.make_source(6))
    counting = count_with(labeller, manifest.categories, thresholds)
    for path in shards_of(tmp_path):
        assert index_anew(path, counting) == read_index(path)
    assert any(len(read_index(path).sources) == 2 for path in shards_of(tmp_path))


def forget(path: pathlib.Path) -> None:
    index_path(path).unlink()


def shorten(path: pathlib.Path) -> None:
    index_path(path).write_text(index_path(path).read_text()[:-20])


def drop_a_record(path: pathlib.Path) -> None:
    index = json.loads(index_path(path).read_text())
    index["offsets"].pop()
    index["image_ids"].pop()
    for own in index["sources"].values():
        own["num_images"] -= 1
    index_path(path).write_text(json.dumps(index))


def set_key(key: str, value) -> None:
    def change(path: pathlib.Path) -> None:
        index_path(path).write_text(json.dumps(json.loads(index_path(path).read_text()) | {key: value}))

    return change


def take_anothers(path: pathlib.Path) -> None:
    shutil.copy(index_path(shards_of(path.parent)[1]), index_path(path))


DAMAGE = {
    "missing": (forget, "does not exist"),
    "cut off": (shorten, "not JSON"),
    "a record short": (drop_a_record, "does not fit|of another shard"),
    "offsets that descend": (set_key("offsets", [0, 9, 8]), "must begin with 0 and ascend"),
    "fewer ids": (set_key("image_ids", ["a"]), "3 offsets and 1 image_ids"),
    "of another file": (take_anothers, "does not fit|of another shard"),
    "another digest": (set_key("sha256", "0"), "of another shard"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_an_index_that_does_not_fit_is_not_used_and_said(folder, damage, message, capsys) -> None:
    expected = read_pseudo_boxes(folder)
    damage(shards_of(folder)[0])
    capsys.readouterr()
    source = read_pseudo_boxes(folder)
    out = capsys.readouterr().out
    assert "the records of 1 of 3 shards were looked for in the shards themselves" in out
    assert any(word in out for word in message.split("|"))
    for index in range(len(expected)):
        np.testing.assert_array_equal(
            source.read_labels(index)["boxes"], expected.read_labels(index)["boxes"]
        )


@pytest.mark.parametrize("case", ["missing", "cut off", "a record short", "fewer ids", "of another file"])
def test_an_index_that_does_not_fit_is_made_anew_by_the_next_label_job(
    folder, finished, case, capsys
) -> None:
    path = shards_of(folder)[0]
    DAMAGE[case][0](path)
    (folder / "manifest.json").unlink()
    label(folder, 10, bad={1}, max_bad_images=1)
    assert "1 of 3 shards were read again for their index" in capsys.readouterr().out
    assert index_path(path).read_text() == index_path(finished / path.name).read_text()
    manifests = [json.loads((where / "manifest.json").read_text()) for where in (folder, finished)]
    unmeasured = {"seconds": 0, "cost": None}
    assert manifests[0] | unmeasured == manifests[1] | unmeasured


def test_counts_of_another_task_are_not_taken(folder) -> None:
    path = shards_of(folder)[0]
    set_key(
        "sources",
        {
            "unlabeled": {
                "threshold": 0.5,
                "per_class_thresholds": {},
                "num_images": 3,
                "counts": {"at_floor": [1, 2], "at_threshold": 1, "images_without_boxes": -1, "by_score": []},
            }
        },
    )(path)
    with pytest.raises(InputError, match="no whole numbers of shape"):
        restore_counts(read_index(path), "unlabeled", count_at(0.5))


def test_a_shard_that_is_damaged_gets_no_index_and_is_said(folder) -> None:
    path = shards_of(folder)[0]
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)
    forget(path)
    (damage,) = complete_indexes([path], count_at(0.5))
    assert "does not match its checksum" in damage
    assert not index_path(path).exists()


def test_moving_the_threshold_reads_labels_and_refuses_shards_of_another_hand(folder) -> None:
    path = shards_of(folder)[2]
    write_shard(path, [read_record(path, offset) for offset in reversed(index_shard(path).tolist())])
    forget(path)
    labeller = make_labeller(make_source(10))
    with pytest.raises(InputError, match=r"has \w+ as its SHA-256; the manifest says"):
        recount_labels(folder, labeller, threshold=0.3, per_class_thresholds={})
