import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.models.max_pool import max_pool, native_max_pool, noting_max_pool


@pytest.mark.parametrize(
    ("shape", "size", "stride", "pads"),
    [
        ((2, 8, 6, 3), 3, 2, ((0, 1), (0, 1))),
        ((2, 8, 6, 3), 3, 2, ((1, 1), (1, 1))),
        ((2, 7, 9, 2), 3, 2, ((1, 1), (0, 1))),  # a last row that no window reaches
        ((2, 8, 8, 2), 2, 2, ((0, 0), (0, 0))),
        ((1, 6, 6, 2), 3, 1, ((1, 1), (1, 1))),
        ((1, 12, 12, 1), 5, 4, ((0, 1), (0, 1))),
    ],
)
@pytest.mark.parametrize("has_ties", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_value_and_gradient_are_xlas(shape, size, stride, pads, has_ties, dtype):
    random = np.random.default_rng(0)
    x = jnp.asarray(random.integers(0, 3, shape) if has_ties else random.normal(size=shape), dtype)
    expected, pull = jax.vjp(lambda x: nn.max_pool(x, (size, size), (stride, stride), pads), x)
    found, own_pull = jax.vjp(lambda x: noting_max_pool(x, size, stride, pads), x)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(noting_max_pool(x, size, stride, pads), expected)
    np.testing.assert_array_equal(native_max_pool(x, size, stride, pads), expected)
    gradient = jnp.asarray(random.integers(-8, 8, found.shape), dtype)  # sums of them are exact
    np.testing.assert_array_equal(own_pull(gradient)[0], pull(gradient)[0])


def test_on_tpus_alone_xla_searches():
    x = jnp.zeros((1, 8, 8, 2))
    step = jax.jit(jax.grad(lambda x: max_pool(x, 3, 2, ((0, 1), (0, 1))).sum())).trace(x)
    searches = {p: step.lower(lowering_platforms=(p,)).as_text() for p in ("cpu", "cuda", "tpu")}
    found = {p: bool(re.search("select_and_scatter", text)) for p, text in searches.items()}
    assert found == {"cpu": False, "cuda": False, "tpu": True}
