import itertools

import numpy as np
import pytest

from selftrain_jax.data.source import label_fraction
from selftrain_jax.errors import InputError

PERCENTS = (1, 2, 5, 10, 20, 50, 100)


def test_parts_are_sorted_disjoint_and_complete() -> None:
    for percent in PERCENTS:
        labelled, remainder = label_fraction(205, percent, seed=3, fold=1)
        assert np.array_equal(np.sort(np.concatenate([labelled, remainder])), np.arange(205))
        assert np.array_equal(labelled, np.sort(labelled))
        assert np.array_equal(remainder, np.sort(remainder))


def test_sizes_are_the_floor_and_at_least_one() -> None:
    sizes = [len(label_fraction(205, percent, seed=0, fold=0)[0]) for percent in PERCENTS]
    assert sizes == [2, 4, 10, 20, 41, 102, 205]
    assert len(label_fraction(7, 1, seed=0, fold=0)[0]) == 1
    assert len(label_fraction(1000, 0.3, seed=0, fold=0)[0]) == 3  # not 2 by rounding error


def test_a_smaller_fraction_lies_within_a_larger_one() -> None:
    parts = [set(label_fraction(500, percent, seed=1, fold=2)[0].tolist()) for percent in PERCENTS]
    assert all(small < large for small, large in itertools.pairwise(parts))


def test_seeds_and_folds_choose_different_images() -> None:
    chosen = {tuple(label_fraction(1000, 5, seed=s, fold=f)[0].tolist()) for s in range(3) for f in range(3)}
    assert len(chosen) == 9


def test_every_image_is_about_equally_often_labelled() -> None:
    counts = np.zeros(20)
    for fold in range(2000):
        counts[label_fraction(20, 20, seed=0, fold=fold)[0]] += 1
    # Binomial(2000, 0.2): mean 400, deviation 17.9; five deviations are 90.
    assert np.abs(counts - 400).max() < 90


def test_choice_is_the_same_on_every_machine() -> None:
    """A changed list would silently change every experiment: a bug, not a new golden value."""
    assert label_fraction(20, 20, seed=0, fold=0)[0].tolist() == [2, 3, 11, 13]
    assert label_fraction(20, 20, seed=1, fold=5)[0].tolist() == [0, 5, 12, 17]


@pytest.mark.parametrize(
    ("num_examples", "percent", "seed", "fold", "words"),
    [
        (10, 0, 0, 0, "percentage is 0"),
        (10, 101, 0, 0, "at most 100"),
        (10, float("nan"), 0, 0, "percentage is nan"),
        (0, 10, 0, 0, "no images"),
        (10, 10, -1, 0, "seed is -1"),
    ],
)
def test_impossible_fractions_are_refused(
    num_examples: int, percent: float, seed: int, fold: int, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        label_fraction(num_examples, percent, seed=seed, fold=fold)
