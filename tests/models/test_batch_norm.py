import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.models.batch_norm import BatchNorm

SETTINGS = {"momentum": 0.9, "epsilon": 1e-3}


def draw(dtype):
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=(3, 4, 5, 2)) * [1, 3] + [0.5, -2], dtype)
    params = {"scale": jnp.array([0.5, 2.0]), "bias": jnp.array([1.0, -1.0])}
    statistics = {"mean": jnp.array([0.3, 0.1]), "var": jnp.array([2.0, 0.7])}
    return x, params, statistics, jnp.asarray(random.normal(size=x.shape), dtype)


def run(bn, train, dtype):
    """Return outputs, new statistics, and the gradients of parameters and input."""
    x, params, statistics, cotangent = draw(dtype)

    def apply(params, x):
        variables = {"params": params, "batch_stats": statistics}
        if isinstance(bn, BatchNorm):
            return bn.apply(variables, x, train=train, mutable=["batch_stats"])
        return bn.apply(variables, x, use_running_average=not train, mutable=["batch_stats"])

    @jax.jit
    def all_of_it(params, x):
        y, pull, changed = jax.vjp(apply, params, x, has_aux=True)
        return y, changed["batch_stats"], pull(cotangent)

    return all_of_it(params, x)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.02)])
def test_outputs_statistics_and_gradients_are_flax_linens(train, dtype, tolerance):
    found = run(BatchNorm(**SETTINGS, dtype=dtype), train, dtype)
    expected = run(nn.BatchNorm(**SETTINGS, dtype=jnp.dtype(dtype)), train, dtype)
    assert jax.tree.map(lambda v: v.dtype, found) == jax.tree.map(lambda v: v.dtype, expected)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(
            ours.astype(jnp.float32), theirs.astype(jnp.float32), rtol=tolerance, atol=tolerance
        )


def test_gradient_is_the_slope():
    x, params, _, cotangent = draw("float32")
    bn = BatchNorm(**SETTINGS, dtype="float32")
    start = {"batch_stats": {"mean": jnp.zeros(2), "var": jnp.ones(2)}}

    def loss(x):
        y, _ = bn.apply({"params": params, **start}, x, train=True, mutable=["batch_stats"])
        return (y * cotangent).sum()

    direction = jnp.asarray(np.random.default_rng(1).normal(size=x.shape), jnp.float32)
    step = 1e-2
    slope = (loss(x + step * direction) - loss(x - step * direction)) / (2 * step)
    np.testing.assert_allclose((jax.grad(loss)(x) * direction).sum(), slope, rtol=1e-3)


def test_running_moments_keep_the_momentums_share_and_the_population_variance():
    x = jnp.array([1.0, 3.0]).reshape(2, 1, 1, 1)
    bn = BatchNorm(momentum=0.9, epsilon=0.0, dtype="float32")
    variables = bn.init(jax.random.key(0), x, train=True)
    y, updates = bn.apply(variables, x, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(y.ravel(), [-1.0, 1.0], rtol=1e-6)
    np.testing.assert_allclose(updates["batch_stats"]["mean"], [0.1 * 2.0], rtol=1e-6)
    np.testing.assert_allclose(updates["batch_stats"]["var"], [0.9 * 1.0 + 0.1 * 1.0], rtol=1e-6)


def test_initialising_leaves_the_running_moments_at_0_and_1():
    bn = BatchNorm(**SETTINGS, dtype="float32")
    statistics = bn.init(jax.random.key(0), 5 + jnp.ones((2, 1, 1, 3)), train=True)["batch_stats"]
    np.testing.assert_array_equal(statistics["mean"], np.zeros(3))
    np.testing.assert_array_equal(statistics["var"], np.ones(3))


def test_only_cpu_holds_the_gradients_operands_apart():
    x, params, statistics, _ = draw("float32")
    bn = BatchNorm(**SETTINGS, dtype="float32")

    def loss(x):
        variables = {"params": params, "batch_stats": statistics}
        return bn.apply(variables, x, train=True, mutable=["batch_stats"])[0].sum()

    traced = jax.jit(jax.grad(loss)).trace(x)
    assert "optimization_barrier" in traced.lower(lowering_platforms=("cpu",)).as_text()
    for platform in ("tpu", "cuda"):
        assert "optimization_barrier" not in traced.lower(lowering_platforms=(platform,)).as_text()
