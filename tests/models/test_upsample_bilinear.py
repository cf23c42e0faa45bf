import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.models.layers import upsample_bilinear


def upsample_by_hand(x, factor):
    """Interpolate one image at i / factor, cell by cell."""
    height, width, _ = x.shape
    out = np.zeros((height * factor, width * factor, x.shape[2]))
    for row in range(height * factor):
        for column in range(width * factor):
            (top, down), (left, right) = divmod(row, factor), divmod(column, factor)
            down, right = down / factor, right / factor
            below, beside = min(top + 1, height - 1), min(left + 1, width - 1)
            out[row, column] = (1 - down) * ((1 - right) * x[top, left] + right * x[top, beside])
            out[row, column] += down * ((1 - right) * x[below, left] + right * x[below, beside])
    return out


def test_samples_stay_and_the_edge_repeats():
    found = upsample_bilinear(jnp.array([0.0, 4, 2]).reshape(1, 1, 3, 1), 4)
    assert found.shape == (1, 4, 12, 1)
    for row in found[0, :, :, 0].tolist():
        assert row == [0, 1, 2, 3, 4, 3.5, 3, 2.5, 2, 2, 2, 2]


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_equals_a_loop_over_cells(factor):
    x = np.random.default_rng(factor).normal(size=(2, 3, 5, 2)).astype(np.float32)
    found = upsample_bilinear(jnp.asarray(x), factor)
    for image, expected in zip(found, x, strict=True):
        np.testing.assert_allclose(image, upsample_by_hand(expected, factor), rtol=1e-5, atol=1e-6)


def test_twice_by_2_is_once_by_4():
    x = jax.random.normal(jax.random.key(0), (1, 3, 5, 2))
    np.testing.assert_allclose(
        upsample_bilinear(upsample_bilinear(x, 2), 2), upsample_bilinear(x, 4), atol=1e-6
    )


def test_keeps_bfloat16():
    assert upsample_bilinear(jnp.zeros((1, 2, 2, 1), jnp.bfloat16), 4).dtype == jnp.bfloat16
