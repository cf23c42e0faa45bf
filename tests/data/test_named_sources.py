"""Several sources as one: ids stay apart, what is read is the source's own, and one alone is unchanged."""

import dataclasses

import numpy as np
import pytest

from selftrain_jax.data.named_sources import indices_by_source, join_sources, of_known_sources, source_of
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError


def make_source(name: str, ids: tuple[str, ...], value: int, **changes) -> Source:
    """Images of one pixel: the source's value, and the index."""
    source = Source(
        name=name,
        categories=(),
        image_ids=ids,
        read_labels=lambda index: {"image_id": ids[index], "image_class": value},
        read_encoded=lambda index: f"{name} {index}".encode(),
        read_image=lambda index: np.full((1, 1, 3), (value, index, 0), np.uint8),
    )
    return dataclasses.replace(source, **changes)


FIRST = make_source("voc", ("a", "b"), 1)
COCO = make_source("coco:all", ("a", "c", "d"), 2)
WEB = make_source("web", ("d",), 3)


def test_images_are_those_of_their_sources_and_ids_that_two_share_stay_apart() -> None:
    joined = join_sources({"unlabeled": FIRST, "coco": COCO, "web": WEB})
    assert joined.image_ids == ("a", "b", "coco/a", "coco/c", "coco/d", "web/d")
    found = [tuple(joined.read_image(index)[0, 0, :2].tolist()) for index in range(6)]
    assert found == [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (3, 0)]
    labels = [joined.read_labels(index) for index in range(6)]
    assert tuple(example["image_id"] for example in labels) == joined.image_ids
    assert [example["image_class"] for example in labels] == [1, 1, 2, 2, 2, 3]
    assert joined.read_encoded(4) == b"coco:all 2"
    assert joined.check_file is None


def test_one_source_is_the_same_object() -> None:
    assert join_sources({"unlabeled": FIRST}) is FIRST


def test_files_are_checked_where_a_source_has_any() -> None:
    def fail(index: int) -> None:
        raise InputError(f"file {index}")

    check = join_sources({"unlabeled": FIRST, "coco": dataclasses.replace(COCO, check_file=fail)}).check_file
    assert check is not None
    check(1)
    with pytest.raises(InputError, match="file 0"):
        check(2)


def test_ids_that_look_like_those_of_a_further_source_are_refused() -> None:
    with pytest.raises(InputError, match=r"begin with the name of a further source: coco/1\.jpg"):
        join_sources({"unlabeled": make_source("folder", ("x/1.jpg", "coco/1.jpg"), 1), "coco": COCO})


def test_the_source_of_an_image_is_told_by_its_id() -> None:
    names = ["coco", "web"]
    assert [source_of(id, names) for id in ("a", "x/a", "coco", "coco/x/a", "web/")] == [
        *("unlabeled", "unlabeled", "unlabeled", "coco", "web")
    ]
    found = indices_by_source(("a", "coco/a", "b", "coco/b"), names)
    assert {name: own.tolist() for name, own in found.items()} == {
        **{"unlabeled": [0, 2], "coco": [1, 3], "web": []}
    }


def test_images_of_sources_without_truth_are_left_out() -> None:
    ids = ["a", "b", "coco/a", "web/a"]
    assert of_known_sources(ids, ["a", "web/z"], ["coco", "web"]) == ["a", "b", "web/a"]
    assert of_known_sources(ids, ["z"], []) == ids
