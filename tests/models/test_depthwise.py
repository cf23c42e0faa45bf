from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.models.depthwise import depthwise_convolve
from selftrain_jax.models.layers import padding_px
from selftrain_jax.models.native_convolution import native


def example(shape, kernel_px, stride, dtype=jnp.float32):
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=shape), dtype)
    kernel = jnp.asarray(random.normal(size=(kernel_px, kernel_px, 1, shape[-1])), dtype)
    rows, columns = (padding_px(size, kernel_px, stride, "same") for size in shape[1:3])
    return x, kernel, {"stride": stride, "pads": (rows, columns)}


@pytest.mark.parametrize(
    ("size", "kernel_px", "stride"),
    [
        ((8, 6), 3, 1),
        ((8, 6), 3, 2),
        ((7, 9), 3, 2),
        ((19, 8), 5, 1),  # more rows than a block, and not a multiple of it
        ((67, 5), 3, 2),
        ((8, 6), 5, 2),
        ((7, 9), 5, 2),
        ((4, 3), 1, 1),
        ((2, 1), 5, 2),  # smaller than the kernel
    ],
)
def test_cpu_form_equals_the_native_one_gradients_included(size, kernel_px, stride):
    x, kernel, geometry = example((2, *size, 3), kernel_px, stride)

    @jax.jit
    def both(x, kernel):
        results = []
        for function in (depthwise_convolve, native):
            y, pull = jax.vjp(partial(function, **geometry), x, kernel)
            results.append((y, *pull(jnp.cos(jnp.arange(float(y.size))).reshape(y.shape))))
        return results

    fast, plain = both(x, kernel)
    for found, expected in zip(fast, plain, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("function", [depthwise_convolve, native])
def test_each_channel_is_convolved_by_its_own_kernel(function):
    x, kernel, geometry = example((1, 4, 4, 2), 3, 2)
    padded = np.pad(x[0], ((0, 1), (0, 1), (0, 0)))  # TensorFlow's "same" pads even sizes after
    expected = np.zeros((2, 2, 2))
    for row in range(2):
        for column in range(2):
            window = padded[2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            expected[row, column] = (window * kernel[:, :, 0]).sum(axis=(0, 1))
    np.testing.assert_allclose(function(x, kernel, **geometry)[0], expected, rtol=1e-5, atol=1e-6)


def test_each_platform_takes_its_own_form():
    x, kernel, geometry = example((1, 4, 4, 2), 3, 1)
    step = jax.jit(jax.value_and_grad(lambda x, k: depthwise_convolve(x, k, **geometry).sum(), (0, 1)))
    traced = step.trace(x, kernel)
    held = {p: traced.lower(lowering_platforms=(p,)).as_text() for p in ("cpu", "tpu", "cuda")}
    assert "stablehlo.convolution" not in held["cpu"]
    for platform in ("tpu", "cuda"):
        # value, gradient of the input, gradient of the kernel
        assert 2 <= held[platform].count("stablehlo.convolution") <= 3


def test_vmap_is_the_loop():
    x, kernel, geometry = example((3, 5, 4, 2), 3, 2)
    gradient = jax.grad(lambda x, k: (depthwise_convolve(x, k, **geometry) ** 2).sum(), (0, 1))
    found = jax.jit(jax.vmap(gradient, (0, None)))(x[:, None], kernel)
    for i in range(3):
        for all_of_them, one in zip(found, gradient(x[i : i + 1], kernel), strict=True):
            np.testing.assert_allclose(all_of_them[i], one, rtol=1e-5, atol=1e-5)


def test_bfloat16_is_summed_in_float32():
    x, kernel, geometry = example((1, 8, 8, 2), 5, 1, jnp.bfloat16)
    found, pull = jax.vjp(partial(depthwise_convolve, **geometry), x, kernel)
    exact = native(x.astype(jnp.float32), kernel.astype(jnp.float32), **geometry)
    assert {v.dtype for v in (found, *pull(found))} == {jnp.dtype(jnp.bfloat16)}
    np.testing.assert_array_equal(found, exact.astype(jnp.bfloat16))
