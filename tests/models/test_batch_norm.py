import contextlib
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from selftrain_jax.models.batch_norm import BatchNorm, moments_frozen, moments_of

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


CHOSEN = np.array([True, False, True])


def apply_with(x, context, params=None):
    """Return the outputs and the new running moments of a training step inside of a context."""
    _, drawn, statistics, _ = draw("float32")
    variables = {"params": params or drawn, "batch_stats": statistics}
    with context:
        y, changed = BatchNorm(**SETTINGS, dtype="float32").apply(
            variables, x, train=True, mutable=["batch_stats"]
        )
    return y, changed["batch_stats"]


def test_moments_of_chosen_images_normalise_all_and_move_the_running_ones():
    x, params, old, _ = draw("float32")
    y, statistics = apply_with(x, moments_of(jnp.asarray(CHOSEN)))
    pixels = np.asarray(x, np.float64)
    for channel in range(2):
        of_chosen = [float(value) for image in pixels[CHOSEN] for value in image[..., channel].ravel()]
        mean = sum(of_chosen) / len(of_chosen)
        var = sum((value - mean) ** 2 for value in of_chosen) / len(of_chosen)
        expected = (pixels[..., channel] - mean) / np.sqrt(var + 1e-3)
        expected = expected * float(params["scale"][channel]) + float(params["bias"][channel])
        np.testing.assert_allclose(y[..., channel], expected, rtol=1e-4, atol=1e-5)
        for name, moment in (("mean", mean), ("var", var)):
            moved = 0.9 * float(old[name][channel]) + 0.1 * moment
            np.testing.assert_allclose(statistics[name][channel], moved, rtol=1e-5)


def test_gradient_with_chosen_images_is_that_of_the_formula_by_autodiff():
    x, params, _, cotangent = draw("float32")
    images = jnp.asarray(CHOSEN)

    def plain(x, params):
        share = images[:, None, None, None] / (images.sum() * x.shape[1] * x.shape[2])
        mean = (x * share).sum((0, 1, 2))
        var = ((x - mean) ** 2 * share).sum((0, 1, 2))
        return (cotangent * ((x - mean) / jnp.sqrt(var + 1e-3) * params["scale"] + params["bias"])).sum()

    def ours(x, params):
        return (apply_with(x, moments_of(images), params)[0] * cotangent).sum()

    expected, found = (jax.grad(function, (0, 1))(x, params) for function in (plain, ours))
    for ours_, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours_, theirs, rtol=1e-3, atol=1e-5)


def test_other_images_change_nothing_of_the_chosen_ones():
    x, *_ = draw("float32")
    changed = x.at[1].set(1e6 * x[1] + jnp.nan)
    (y, statistics), (other, others) = (
        apply_with(pixels, moments_of(jnp.asarray(CHOSEN))) for pixels in (x, changed)
    )
    np.testing.assert_array_equal(y[CHOSEN], other[CHOSEN])
    jax.tree.map(np.testing.assert_array_equal, statistics, others)


@pytest.mark.parametrize("chosen", [[True] * 3, [False] * 3])
def test_all_images_or_none_is_the_whole_batch(chosen):
    x, *_ = draw("float32")
    expected = apply_with(x, contextlib.nullcontext())
    found = apply_with(x, moments_of(jnp.asarray(chosen)))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), found, expected)


def test_frozen_moments_normalise_and_stay_while_scale_and_bias_learn():
    x, params, statistics, cotangent = draw("float32")
    y, found = apply_with(x, moments_frozen())
    variables = {"params": params, "batch_stats": statistics}
    bn = BatchNorm(**SETTINGS, dtype="float32")
    np.testing.assert_array_equal(y, bn.apply(variables, x, train=False))
    jax.tree.map(np.testing.assert_array_equal, found, statistics)
    grads = jax.grad(lambda params: (apply_with(x, moments_frozen(), params)[0] * cotangent).sum())(params)
    normal = (x - statistics["mean"]) / jnp.sqrt(statistics["var"] + 1e-3)
    np.testing.assert_allclose(grads["scale"], (cotangent * normal).sum((0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(grads["bias"], cotangent.sum((0, 1, 2)), rtol=1e-4)


def test_moments_of_a_batch_over_two_devices_are_those_of_all_its_chosen_images():
    mesh = Mesh(np.array(jax.devices()[:2]), ("data",))
    x = jnp.asarray(np.random.default_rng(3).normal(size=(4, 2, 2, 2)), jnp.float32)
    images = jnp.asarray([True, True, True, False])  # one device has two of them, the other one
    function = jax.jit(lambda x, images: apply_with(x, moments_of(images)))
    split = NamedSharding(mesh, PartitionSpec("data"))
    found = function(jax.device_put(x, split), jax.device_put(images, split))
    expected = function(x, images)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), found, expected)
