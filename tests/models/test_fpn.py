from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.models.fpn import FPN
from selftrain_jax.models.layers import resize_nearest
from tests.models.random_variables import random_variables

FEATURES = {n: jax.random.normal(jax.random.key(n), (1, 64 >> n, 64 >> n, 4)) for n in (2, 3, 4, 5)}


def identity_weights(fpn):
    """Return variables whose convolutions hand on their middle pixel and add 1."""
    variables = random_variables(partial(fpn.init, train=False), jax.random.key(0), FEATURES)

    def middle(path, x):
        if path[-1].key == "bias" and "bn" not in path[-2].key:
            return jnp.ones_like(x)
        if path[-1].key != "kernel":
            return x
        return jnp.zeros_like(x).at[x.shape[0] // 2, x.shape[1] // 2].set(jnp.eye(4))

    return {**variables, "params": jax.tree_util.tree_map_with_path(middle, variables["params"])}


def double(x):
    """Repeat each cell twice along both axes."""
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


def test_levels_are_merged_from_the_top_down_and_extended():
    fpn = FPN(num_channels=4)
    pyramid = jax.jit(partial(fpn.apply, train=False))(identity_weights(fpn), FEATURES)
    lateral = {n: FEATURES[n] + 1 for n in (3, 4, 5)}
    merged5 = lateral[5]
    merged4 = lateral[4] + double(merged5)
    merged3 = lateral[3] + double(merged4)
    p6 = (merged5 + 1)[:, 1::2, 1::2] + 1  # "same" at stride 2 starts at pixel 0: its middle is pixel 1
    p7 = jax.nn.relu(p6)[:, :1, :1] + 1  # of a single pixel the middle is itself
    expected = {3: merged3 + 1, 4: merged4 + 1, 5: merged5 + 1, 6: p6, 7: p7}
    for level, x in expected.items():
        np.testing.assert_allclose(pyramid[level] * np.sqrt(1 + 1e-4), x, rtol=1e-5, atol=1e-5)


def test_upsampling_repeats_cells():
    found = resize_nearest(jnp.array([[1, 2], [3, 4]], jnp.float32)[None, :, :, None], 4, 4)
    np.testing.assert_array_equal(found[0, :, :, 0], [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]])


@pytest.mark.parametrize(("levels", "sizes"), [((3, 6), [8, 4, 2, 1]), ((2, 4), [16, 8, 4]), ((3, 3), [8])])
def test_levels_are_chosen(levels, sizes):
    fpn = FPN(8, *levels)
    pyramid, _ = jax.eval_shape(lambda f: fpn.init_with_output(jax.random.key(0), f, train=False), FEATURES)
    assert list(pyramid) == list(range(levels[0], levels[1] + 1))
    assert [x.shape for x in pyramid.values()] == [(1, n, n, 8) for n in sizes]


@pytest.mark.parametrize("levels", [(1, 5), (6, 7), (4, 3)])
def test_levels_that_cannot_be_are_refused(levels):
    with pytest.raises(InputError, match=f"levels {levels[0]} to {levels[1]}"):
        jax.eval_shape(partial(FPN(8, *levels).init, train=False), jax.random.key(0), FEATURES)
