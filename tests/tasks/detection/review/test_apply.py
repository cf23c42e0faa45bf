"""Reviewed images leave the pseudo labels and join the human ones, with what a person said of them."""

import numpy as np
import pytest

from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.run_files.corrections import ReviewedBox, ReviewedImage
from selftrain_jax.tasks.detection.review.apply import human_labels, split_reviewed
from selftrain_jax.types import Category

SIDES = {name: tuple(np.float32((n, n + 0.1, n + 5.3, n + 7.7)).tolist()) for n, name in enumerate("abcde")}


def reviewed(image_id: str = "y", removed: str = "background") -> ReviewedImage:
    teacher = {"index": 0, "teacher_class": 1, "score": 0.5}
    boxes = (
        ReviewedBox(outcome="kept", box=SIDES["a"], class_id=1, **teacher),
        ReviewedBox(outcome="moved", box=SIDES["b"], class_id=1, **teacher),
        ReviewedBox(outcome="relabelled", box=SIDES["c"], class_id=2, **teacher),
        ReviewedBox(outcome="removed", box=SIDES["d"], class_id=1, **teacher),
        ReviewedBox(outcome="added", box=SIDES["e"], class_id=3),
    )
    return ReviewedImage(image_id=image_id, review="r", removed=removed, boxes=boxes)


SOURCE = Source(
    name="pseudo",
    categories=(Category(1, "cat"), Category(2, "dog"), Category(3, "owl")),
    image_ids=("x", "y", "z"),
    read_labels=lambda index: {"image_id": "xyz"[index], "boxes": np.zeros((0, 4)), "is_pseudo": True},
    read_encoded=lambda index: b"xyz"[index : index + 1],
    read_image=lambda index: np.full((1, 1, 3), index, np.uint8),
)


@pytest.mark.parametrize(
    ("removed", "kept", "ignored"), [("background", "abce", ""), ("ignore", "abcde", "d")]
)
def test_what_was_removed_is_background_or_ignored(removed: str, kept: str, ignored: str) -> None:
    labels = human_labels(reviewed(removed=removed))
    assert labels["boxes"].dtype == np.float32
    np.testing.assert_array_equal(labels["boxes"], np.array([SIDES[name] for name in kept], np.float32))
    assert labels["is_ignore"].tolist() == [name in ignored for name in kept]
    classes = dict(zip("abcde", (1, 1, 2, 1, 3), strict=True))
    assert labels["classes"].tolist() == [classes[name] for name in kept]
    assert not labels["is_crowd"].any()
    assert "scores" not in labels  # of a human's label none


def test_a_reviewed_image_is_in_one_stream_only() -> None:
    rest, human = split_reviewed(SOURCE, {"y": reviewed(), "elsewhere": reviewed("elsewhere")})
    assert human is not None
    assert (rest.image_ids, human.image_ids) == (("x", "z"), ("y",))
    assert human.read_encoded(0) == b"y"
    assert len(human.read(0)["boxes"]) == 4
    assert rest.read_labels(1)["image_id"] == "z"


def test_without_reviewed_images_nothing_changes() -> None:
    rest, human = split_reviewed(SOURCE, {"elsewhere": reviewed("elsewhere")})
    assert rest is SOURCE
    assert human is None


def test_a_set_that_was_reviewed_whole_leaves_nothing_for_a_student() -> None:
    with pytest.raises(InputError, match="all 3 images of pseudo have been corrected by hand"):
        split_reviewed(SOURCE, {image_id: reviewed(image_id) for image_id in "xyz"})


def test_an_image_without_an_object_is_one_without_boxes() -> None:
    labels = human_labels(ReviewedImage(image_id="y", review="r", removed="background", boxes=()))
    assert labels["boxes"].shape == (0, 4)
