"""Weights of the classes: the rarer the heavier, the loss as large as before, and what does not fit."""

import numpy as np
import pytest

from configs import common
from selftrain_jax.errors import InputError
from selftrain_jax.tasks.segmentation.class_weights import (
    balance_classes,
    balanced_weights,
    check_class_weights,
    weights_by_id,
)
from selftrain_jax.types import IGNORED, Category
from tests.tasks.segmentation.mask_sources import make_source


def test_weights_are_powers_of_the_rarity_with_a_mean_of_1_over_pixels() -> None:
    counts = {"road": 900, "pole": 90, "sign": 10, "train": 0}
    weights = balanced_weights(counts, 0.5)
    # f^-1/2 = 1.0541, 3.3333, 10; the mean over pixels is 0.9487 + 0.3 + 0.1 = 1.3487
    np.testing.assert_allclose(weights, [0.7816, 2.4716, 7.4147, 1.0], atol=1e-4)
    shares = np.array([0.9, 0.09, 0.01, 0])
    assert abs((shares * weights).sum() - 1) < 1e-4


@pytest.mark.parametrize(("balance", "expected"), [(1.0, (2 / 3, 2.0)), (1e-9, (1.0, 1.0))])
def test_the_ends_of_balance(balance: float, expected: tuple[float, ...]) -> None:
    """With 1 each class has the same weight in all: 1 / (classes × share). Near 0 pixels count alike."""
    np.testing.assert_allclose(balanced_weights({"a": 75, "b": 25}, balance), expected, atol=1e-4)


def test_the_config_is_completed_by_the_labelled_pixels_and_stays_as_it_was_without_balance() -> None:
    config = common.get_config()
    first = np.full((4, 4), 1, np.uint8)
    first[0] = IGNORED  # 12 pixels of class 1; the second mask has 4 of class 2
    second = np.full((2, 2), 2, np.uint8)
    source = make_source(first, second)
    assert balance_classes(config, source) is config
    config.segmentation.class_balance = 1.0
    balanced = balance_classes(config, source)
    names = [name for _, name in source.categories]
    counts = dict.fromkeys(names, 0) | {dict(source.categories)[1]: 12, dict(source.categories)[2]: 4}
    assert balanced.segmentation.class_weights == balanced_weights(counts, 1.0)
    check_class_weights(balanced)  # what a run has made of a config is a config
    assert balance_classes(balanced, source) is balanced
    assert tuple(config.segmentation.class_weights) == ()


def test_weights_stand_at_the_ids_of_their_classes() -> None:
    config, categories = common.get_config(), (Category(1, "a"), Category(3, "b"))
    assert weights_by_id(config, categories) is None
    config.segmentation.class_weights = (0.5, 2.0)
    np.testing.assert_array_equal(weights_by_id(config, categories), [1, 0.5, 1, 2])
    config.segmentation.class_weights = (0.5,)
    with pytest.raises(InputError, match=r"has 1 weights, but there are 2 classes: a, b\. Give one for each"):
        weights_by_id(config, categories)


@pytest.mark.parametrize(
    ("balance", "weights", "words"),
    [
        (-0.1, (), r"class_balance=-0\.1 .* expected 0 \(off\) to 1"),
        (1.5, (), "class_balance=1.5"),
        (float("nan"), (), "class_balance=nan"),
        (0.0, (1.0, 0.0), "a number above 0 for each class"),
        (0.0, (1.0, "a"), "a number above 0 for each class"),
        (0.5, (1.0, 1.0), "set one of them"),
    ],
)
def test_values_that_do_not_fit_are_refused(balance: float, weights: tuple, words: str) -> None:
    config = common.get_config()
    config.segmentation.update(class_balance=balance, class_weights=weights)
    with pytest.raises(InputError, match=words):
        check_class_weights(config)
