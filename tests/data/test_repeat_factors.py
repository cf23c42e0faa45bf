"""Images drawn by class: the factors of the formula, and what an epoch then holds."""

import math
from collections import Counter

import numpy as np
import pytest

from selftrain_jax.data.repeat_factors import classes_of, repeat_factors, repeat_rare, repeated_epoch
from selftrain_jax.data.sampling import example_index
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.types import Category

# 20 images: class 1 in all, 2 in a half, 3 in one (with 1), and one image without any.
CLASSES = [frozenset({1}) | ({2} if i % 2 else set()) | ({3} if i == 4 else set()) for i in range(19)]
IMAGES = [*CLASSES, frozenset()]


def test_factors_are_those_of_the_formula() -> None:
    found = repeat_factors(IMAGES, 0.6)
    shares = {1: 19 / 20, 2: 9 / 20, 3: 1 / 20}
    assert found.num_images == {1: 19, 2: 9, 3: 1}
    for class_id, share in shares.items():
        assert found.of_classes[class_id] == pytest.approx(max(1.0, math.sqrt(0.6 / share)))
    assert found.of_images[4] == pytest.approx(math.sqrt(12))
    assert found.of_images[1] == pytest.approx(math.sqrt(0.6 / 0.45))
    assert found.of_images[0] == found.of_images[19] == 1.0


def test_below_the_threshold_of_every_class_nothing_is_repeated() -> None:
    assert repeat_factors(IMAGES, 0.05).of_images.tolist() == [1.0] * 20


@pytest.mark.parametrize("seed", [0, 7])
def test_counts_of_an_epoch_are_the_factors_rounded_and_on_average_the_factors(seed: int) -> None:
    factors = repeat_factors(IMAGES, 0.6).of_images
    epoch = repeated_epoch(factors)
    assert epoch.length == math.ceil(factors.sum())
    stretched = factors * epoch.length / factors.sum()
    total = np.zeros(20)
    for number in range(400):
        drawn = epoch.permutation(epoch.length, seed, number)
        counts = np.bincount(drawn, minlength=20)
        assert counts.sum() == len(drawn) == epoch.length
        assert (counts >= np.floor(stretched)).all()
        assert (counts <= np.ceil(stretched)).all()
        total += counts
    # A fraction of 0.5 at most, 400 times: a deviation of 0.025; five of them.
    np.testing.assert_allclose(total / 400, stretched, atol=0.125)


def test_the_images_that_are_rounded_up_do_not_go_together() -> None:
    """Neighbours in the data set, as frames of a film, would be with a fixed order of the images."""
    epoch = repeated_epoch(np.full(4, 1.5))
    both = [
        np.bincount(epoch.permutation(6, 0, number), minlength=4)[[0, 1]].tolist() for number in range(300)
    ]
    assert 20 < both.count([2, 2]) < 130  # a third of C(4, 2) = 6 pairs is 50; never with a fixed order
    assert both.count([2, 2]) + both.count([1, 1]) + both.count([1, 2]) + both.count([2, 1]) == 300


def test_without_rare_classes_every_image_is_drawn_once() -> None:
    epoch = repeated_epoch(np.ones(7))
    assert epoch.length == 7
    assert sorted(epoch.permutation(7, 3, 5).tolist()) == list(range(7))


def test_a_position_has_the_same_image_however_the_stream_was_begun() -> None:
    factors = repeat_factors(IMAGES, 0.6).of_images
    first, again = repeated_epoch(factors), repeated_epoch(factors.copy())

    def draw(epoch, positions):
        return [example_index(p, epoch.length, 5, permutation=epoch.permutation) for p in positions]

    assert draw(first, range(90)) == draw(again, range(60)) + draw(again, range(60, 90))
    epochs = [draw(first, range(e * first.length, (e + 1) * first.length)) for e in range(3)]
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert max(Counter(epochs[0]).values()) == Counter(epochs[0])[4]


def test_order_is_the_same_on_every_machine() -> None:
    """A changed order would silently change every experiment: a bug, not a new golden value."""
    epoch = repeated_epoch(np.array([1.0, 2.25, 1.5]))
    assert epoch.permutation(5, 0, 0).tolist() == [2, 1, 0, 1, 0]
    assert epoch.permutation(5, 1002, 4).tolist() == [1, 0, 1, 2, 2]


BOXES = {
    "classes": np.array([1, 2, 3, 1], np.int32),
    "is_crowd": np.array([False, True, False, False]),
    "is_ignore": np.array([False, False, True, False]),
}


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (BOXES, {1}),
        ({"classes": np.array([2, 2], np.int32)}, {2}),
        ({"classes": np.zeros(0, np.int32)}, set()),
        ({"mask": np.array([[0, 4], [255, 4]], np.uint8), **BOXES}, {0, 4}),
        ({"image_class": 6}, {6}),
        ({}, set()),
    ],
)
def test_classes_that_are_learnt_from_an_image(labels: dict, classes: set[int]) -> None:
    assert classes_of({"image_id": "a", **labels}) == classes


def test_labels_that_cannot_be_read_leave_their_image_as_it_is() -> None:
    def read(index: int):
        if index == 2:
            raise InputError("damaged")
        return {"image_id": str(index), "classes": np.array([1 if index else 2], np.int32)}

    def never(index: int):
        raise AssertionError(f"image {index} is not needed")

    source = Source("few", (Category(1, "a"), Category(2, "b")), tuple("0123"), read, never, never)
    assert repeat_rare(source, 1.0).of_images.tolist() == [2.0, math.sqrt(2), 1.0, math.sqrt(2)]
