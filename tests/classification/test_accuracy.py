"""Top-1 and top-5, by hand."""

import numpy as np
import pytest

from selftrain_jax.classification.task import accuracy, count_hits

SCORES = np.tile(np.arange(7, dtype=np.float32), (4, 1))  # class 6 is the best, 2 the fifth


def test_best_and_fifth_and_sixth_class() -> None:
    assert count_hits(SCORES, np.array([6, 2, 1, 6])).tolist() == [2, 3, 4]


def test_images_without_class_do_not_count() -> None:
    assert count_hits(SCORES, np.array([6, -1, -1, 0])).tolist() == [1, 1, 2]


def test_same_score_for_all_classes_is_no_hit() -> None:
    assert count_hits(np.ones((2, 10), np.float32), np.array([0, 9])).tolist() == [0, 0, 2]


def test_fewer_than_five_classes_are_all_in_the_top_five() -> None:
    assert count_hits(SCORES[:, :3], np.array([0, 1, 2, 0])).tolist() == [1, 4, 4]


def test_accuracy_adds_batches_of_unequal_size_up() -> None:
    found = accuracy([np.array([1, 2, 4]), np.array([1, 1, 1])])
    assert found == {"top1": pytest.approx(0.4), "top5": pytest.approx(0.6), "num_images": 5}
