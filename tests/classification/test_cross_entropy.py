"""Cross-entropy with smoothed labels, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.classification.task import cross_entropy, mean_over

LOGITS = jnp.log(jnp.array([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5]]))


def test_without_smoothing_it_is_minus_the_log_probability_of_the_class() -> None:
    found = cross_entropy(LOGITS, jnp.array([0, 2]), 0.0)
    np.testing.assert_allclose(found, -np.log([0.7, 0.5]), rtol=1e-6)


def test_smoothing_by_hand() -> None:
    # q = (0.8 + 0.2/3, 0.2/3, 0.2/3) for class 0 of 3 with smoothing 0.2.
    expected = -(0.8 + 0.2 / 3) * np.log(0.7) - 0.2 / 3 * (np.log(0.2) + np.log(0.1))
    np.testing.assert_allclose(cross_entropy(LOGITS[:1], jnp.array([0]), 0.2), [expected], rtol=1e-6)
    np.testing.assert_allclose(expected, 0.569920, rtol=1e-5)


def test_equal_logits_cost_log_k_whatever_the_smoothing() -> None:
    for smoothing in (0.0, 0.1, 0.5):
        np.testing.assert_allclose(
            cross_entropy(jnp.zeros((1, 5)), jnp.array([3]), smoothing), np.log(5), rtol=1e-6
        )


def test_image_without_class_costs_nothing_and_has_no_gradient() -> None:
    classes = jnp.array([-1, 1])
    assert cross_entropy(LOGITS, classes, 0.1)[0] == 0
    gradient = jax.grad(lambda logits: cross_entropy(logits, classes, 0.1).sum())(LOGITS)
    assert not np.any(gradient[0])
    assert np.any(gradient[1])


def test_huge_logits_stay_finite() -> None:
    found = cross_entropy(jnp.array([[1e4, -1e4]]), jnp.array([1]), 0.0)
    np.testing.assert_allclose(found, [2e4])


@pytest.mark.parametrize(("chosen", "expected"), [([True, False, True], 2.0), ([False] * 3, 0.0)])
def test_mean_is_over_the_chosen(chosen: list[bool], expected: float) -> None:
    assert mean_over(jnp.array([1.0, 7.0, 3.0]), jnp.array(chosen)) == expected
