"""Class folders: what is read, and what is refused with which words."""

import pathlib

import pytest

from selftrain_jax.data.sources.image_folder import check_same_classes, read_class_folder
from selftrain_jax.errors import InputError
from selftrain_jax.types import Category
from tests.tasks.classification.class_images import write_class_folder


def test_subfolders_are_the_classes_in_the_order_of_their_names(tmp_path: pathlib.Path) -> None:
    write_class_folder(tmp_path, {"dog": 1, "cat": 2})
    (tmp_path / ".hidden").mkdir()
    source = read_class_folder(tmp_path)
    assert source.categories == (Category(0, "cat"), Category(1, "dog"))
    assert source.image_ids == ("cat/0.png", "cat/1.png", "dog/0.png")
    assert [source.read(index)["image_class"] for index in range(3)] == [0, 0, 1]
    assert [int(source.read(index)["image"][0, 0, 0]) for index in range(3)] == [0, 1, 50]


def test_images_in_deeper_folders_belong_to_the_class_above(tmp_path: pathlib.Path) -> None:
    write_class_folder(tmp_path, {"a": 1, "b": 1})
    write_class_folder(tmp_path / "b", {"more": 2})
    assert [read_class_folder(tmp_path).read_labels(index)["image_class"] for index in range(4)] == [
        0,
        1,
        1,
        1,
    ]


def test_folder_without_subfolder_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match=r"has no sub-folder; expected one a class"):
        read_class_folder(tmp_path)


def test_missing_folder_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match="the folder of classes does not exist"):
        read_class_folder(tmp_path / "train")


def test_empty_classes_are_named(tmp_path: pathlib.Path) -> None:
    write_class_folder(tmp_path, {"a": 1, "b": 0, "c": 0})
    with pytest.raises(InputError, match="2 classes have no image: b, c"):
        read_class_folder(tmp_path)


def test_images_beside_the_classes_are_named(tmp_path: pathlib.Path) -> None:
    write_class_folder(tmp_path, {"a": 1})
    (tmp_path / "a" / "0.png").rename(tmp_path / "x.png")
    write_class_folder(tmp_path, {"b": 1})
    (tmp_path / "a").rmdir()
    with pytest.raises(InputError, match=r"1 images lie beside the classes: x.png"):
        read_class_folder(tmp_path)


def test_classes_that_differ_between_splits_are_named(tmp_path: pathlib.Path) -> None:
    train = read_class_folder(write_class_folder(tmp_path / "train", {"a": 1, "b": 1}))
    val = read_class_folder(write_class_folder(tmp_path / "val", {"a": 1, "c": 1}))
    check_same_classes(train, train)
    with pytest.raises(InputError, match=r"only in .*train: b; only in .*val: c"):
        check_same_classes(train, val)
