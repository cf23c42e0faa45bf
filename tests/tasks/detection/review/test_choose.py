"""Which images go out: each order by hand."""

import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.tasks.detection.review import choose
from tests.tasks.detection.review.sent import box

FAR = [(0, 0, 10, 10), (20, 20, 30, 30), (40, 40, 50, 50)]
IMAGES = [
    (box(0, 1, FAR[0], 0.9), box(1, 1, FAR[1], 0.7)),  # mean 0.8
    (),
    (box(0, 1, FAR[0], 0.6), box(1, 2, FAR[1], 0.6)),
    (box(0, 2, FAR[0], 0.95), box(1, 2, FAR[1], 0.95)),
]


def found(*places: int, class_id: int = 1) -> dict:
    return {
        "boxes": np.array([FAR[n] for n in places], np.float32).reshape(-1, 4),
        "classes": np.full(len(places), class_id),
    }


def test_the_least_sure_have_the_lowest_mean_score_and_empty_ones_come_last() -> None:
    assert choose.order_by_uncertainty(IMAGES) == [2, 0, 3, 1]


def test_the_rarest_class_comes_first_and_of_it_where_there_are_most() -> None:
    rare = [*IMAGES, (box(0, 3, FAR[0]), box(1, 1, FAR[1]))]  # three of 1, now four; three of 2; one of 3
    assert choose.order_by_rarity(rare) == [4, 3, 2, 0, 1]


def test_disagreements_are_boxes_that_one_of_both_has() -> None:
    student = [found(0, 1), found(2), found(0, 2), found(0, 1)]  # of the last both are of another class
    assert [choose.count_agreements(*pair) for pair in zip(IMAGES, student, strict=True)] == [2, 0, 1, 0]
    assert choose.order_by_disagreement(IMAGES, student.__getitem__) == [3, 2, 1, 0]  # 4, 2, 1, 0 boxes


def test_boxes_agree_one_to_one() -> None:
    twice = {"boxes": np.array([FAR[0], FAR[0]], np.float32), "classes": np.array([1, 1])}
    assert choose.count_agreements(IMAGES[0], twice) == 1


def test_a_random_order_is_the_seeds() -> None:
    assert choose.order_at_random(50, 3) == choose.order_at_random(50, 3)
    assert choose.order_at_random(50, 3) != choose.order_at_random(50, 4)
    assert sorted(choose.order_at_random(50, 3)) == list(range(50))


def test_what_is_chosen_keeps_the_order_of_the_set() -> None:
    assert choose.choose_images([3, 0, 2, 1], 3, 4) == [0, 2, 3]
    assert choose.choose_images([3, 0, 2, 1], 0, 4) == [0, 1, 2, 3]


@pytest.mark.parametrize("count", [5, -1])
def test_more_images_than_there_are_cannot_be_chosen(count: int) -> None:
    with pytest.raises(InputError, match=rf"count={count}: 4 of the 9 images can go out"):
        choose.choose_images([3, 0, 2, 1], count, 9)
