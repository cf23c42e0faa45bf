"""Classification data sets as array_record files with the builders' own features; nothing is downloaded."""

import pathlib
from typing import Any

import numpy as np
import pytest

from selftrain_jax.data.source import decode_image
from selftrain_jax.data.sources.tfds import prepare_command, read_tfds_classes
from selftrain_jax.errors import InputError
from selftrain_jax.types import Category

pytestmark = pytest.mark.tf


def prepare(data_dir: pathlib.Path, name: str, examples: list[dict[str, Any]]) -> None:
    import tensorflow_datasets as tfds

    builder = tfds.builder(name, data_dir=data_dir)
    tfds.dataset_builders.store_as_tfds_dataset(
        name=builder.name,
        version=str(builder.version),
        features=builder.info.features,
        split_datasets={"train": enumerate(examples)},
        data_dir=data_dir,
        file_format="array_record",
        disable_shuffling=True,
    )


def test_labels_count_from_0_and_have_names(tmp_path: pathlib.Path) -> None:
    images = [np.full((300, 300, 3), 40 * number, np.uint8) for number in range(3)]
    examples = [{"image": image, "label": label} for image, label in zip(images, (2, 0, 1), strict=True)]
    prepare(tmp_path, "rock_paper_scissors", examples)
    source = read_tfds_classes("rock_paper_scissors", "train", data_dir=tmp_path)
    assert [source.read_labels(index)["image_class"] for index in range(3)] == [2, 0, 1]
    assert source.categories == (Category(0, "rock"), Category(1, "paper"), Category(2, "scissors"))
    np.testing.assert_array_equal(source.read_image(2), images[2])
    assert source.image_ids == ("0000000", "0000001", "0000002")


def test_imagenet_is_read_from_mocked_records() -> None:
    import tensorflow_datasets as tfds

    with tfds.testing.mock_data(num_examples=3):
        source = read_tfds_classes("imagenet2012", "validation")
        assert len(source) == 3
        assert len(source.categories) == 1000
        example = source.read(1)
        assert 0 <= example["image_class"] < 1000
        assert np.array_equal(decode_image(source.read_encoded(1), "test"), example["image"])


def test_absent_imagenet_is_answered_with_size_command_and_where_to_get_it(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError) as caught:
        read_tfds_classes("imagenet2012", "train", data_dir=tmp_path)
    message = str(caught.value)
    assert "155 GB" in message
    assert "manual" in message
    assert prepare_command("imagenet2012", tmp_path) in message


def test_unknown_data_set_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match="TFDS has no 'imagenet2013'"):
        read_tfds_classes("imagenet2013", "train", data_dir=tmp_path)


def test_data_set_with_boxes_instead_of_a_label_is_refused(tmp_path: pathlib.Path) -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    prepare(tmp_path, "bccd", [{"image": image, "image/filename": "x", "objects": []}])
    with pytest.raises(InputError, match=r"bccd has the features .*'objects'.*expected .*`label`"):
        read_tfds_classes("bccd", "train", data_dir=tmp_path)
