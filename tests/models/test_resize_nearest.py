import jax.numpy as jnp
import pytest

from selftrain_jax.models.layers import resize_nearest


@pytest.mark.parametrize(
    ("width", "target", "expected"),
    [
        (2, 6, [0, 0, 0, 1, 1, 1]),
        (3, 3, [0, 1, 2]),
        (2, 3, [0, 0, 1]),  # floor of 0, 2/3, 4/3
        (7, 4, [0, 1, 3, 5]),  # floor of 0, 7/4, 14/4, 21/4
    ],
)
def test_output_cell_is_input_cell_floor_of_its_share(width, target, expected):
    x = jnp.arange(float(width)).reshape(1, 1, width, 1)
    assert resize_nearest(x, 1, target)[0, 0, :, 0].tolist() == expected
    assert resize_nearest(x.swapaxes(1, 2), target, 1)[0, :, 0, 0].tolist() == expected
