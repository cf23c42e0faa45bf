"""Digests say whether data are the same, wherever they lie."""

import dataclasses

import numpy as np
import pytest

from selftrain_jax.data.source import Source, subset, without_labels
from selftrain_jax.demo.builtin import read_builtin
from selftrain_jax.errors import InputError
from selftrain_jax.run_files.manifest import ShardEntry
from selftrain_jax.stages.inputs import images_digest, label_set_digest, labels_digest


@pytest.fixture(scope="module")
def source() -> Source:
    return read_builtin("train", num_images=4)


def with_label(source: Source, key: str, value: object) -> Source:
    return dataclasses.replace(source, read_labels=lambda index: {**source.read_labels(index), key: value})


def test_a_source_is_the_same_under_another_name(source: Source) -> None:
    assert labels_digest(dataclasses.replace(source, name="elsewhere")) == labels_digest(source)
    assert labels_digest(source).startswith("4 images, ")


@pytest.mark.parametrize(
    "change",
    [
        lambda source: subset(source, [0, 1, 2]),
        lambda source: subset(source, [1, 0, 2, 3]),
        lambda source: dataclasses.replace(source, categories=source.categories[:3]),
        lambda source: dataclasses.replace(source, image_ids=("a", "b", "c", "d")),
        lambda source: with_label(source, "boxes", np.zeros((1, 4), np.float32)),
        lambda source: with_label(source, "classes", np.ones(3, np.int32)),
        lambda source: with_label(source, "more", np.ones(1)),
        without_labels,
    ],
)
def test_any_other_image_class_or_label_is_another_digest(source: Source, change) -> None:
    assert labels_digest(change(source)) != labels_digest(source)


def test_images_count_by_their_ids_alone(source: Source) -> None:
    assert images_digest(without_labels(source)) == images_digest(source)
    assert images_digest(subset(source, [0, 1])) != images_digest(source)


def test_a_fingerprint_stands_for_labels_that_are_not_read(source: Source) -> None:
    def refuse(index: int) -> None:
        raise AssertionError("labels are read")

    marked = dataclasses.replace(source, fingerprint="tfds:a/train", read_labels=refuse)
    assert labels_digest(marked) != labels_digest(dataclasses.replace(marked, fingerprint="tfds:a/val"))
    assert images_digest(marked) != images_digest(source)


def test_a_label_that_cannot_be_read_counts_as_such(source: Source) -> None:
    def fail(index: int) -> None:
        raise InputError("mask is cut off")

    broken = dataclasses.replace(source, read_labels=fail)
    assert labels_digest(broken) == labels_digest(broken) != labels_digest(source)


def test_a_label_set_is_its_shards_in_order() -> None:
    shards = [ShardEntry(file=f"{sha}.tfrecord", records=1, bytes=1, sha256=sha) for sha in ("0a", "0b")]
    renamed = [dataclasses.replace(shard, file="other.tfrecord") for shard in shards]
    assert label_set_digest(shards, 2) == label_set_digest(renamed, 2)
    assert label_set_digest(shards, 2) != label_set_digest(shards[::-1], 2)
