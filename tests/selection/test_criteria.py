"""The numbers behind a selection, worked out by hand."""

import numpy as np
import pytest

from selftrain_jax.selection.criteria import binary_entropy, class_weights, to_ranks


def test_binary_entropy_by_hand():
    # h(1/4) = 1/4 * 2 + 3/4 * log2(4/3)
    expected = [0.0, 0.5 + 0.75 * np.log2(4 / 3), 1.0, 0.5 + 0.75 * np.log2(4 / 3), 0.0]
    np.testing.assert_allclose(binary_entropy(np.array([0, 0.25, 0.5, 0.75, 1])), expected)


def test_weight_of_a_class_is_one_over_its_share_and_bounded():
    weights = class_weights(np.array([0, 6, 3, 1, 0], np.float64))
    np.testing.assert_allclose(weights, [1000, 10 / 6, 10 / 3, 10, 1000])
    np.testing.assert_allclose(class_weights(np.array([99_999.0, 1.0])), [1.00001, 1000])
    np.testing.assert_allclose(class_weights(np.zeros(2)), [1000, 1000])


@pytest.mark.parametrize(
    ("scores", "ranks"),
    [
        ([3.0, 1.0, 3.0, 2.0], [2.5 / 3, 0, 2.5 / 3, 1 / 3]),
        ([5.0, 5.0], [0.5, 0.5]),
        ([7.0], [0]),
        ([], []),
    ],
)
def test_rank_is_the_share_of_others_that_are_lower_and_half_of_equals(scores, ranks):
    np.testing.assert_allclose(to_ranks(np.array(scores, np.float64)), np.array(ranks, np.float64))


def test_ranks_do_not_depend_on_the_unit():
    scores = np.random.default_rng(0).normal(size=50)
    np.testing.assert_array_equal(to_ranks(scores), to_ranks(np.exp(3 * scores)))
