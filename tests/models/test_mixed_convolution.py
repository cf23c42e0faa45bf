import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.models.layers import Conv, DepthwiseConv, LayerStyle
from selftrain_jax.models.mixed_convolution import convolve_mixed
from tests.models.convolution_cases import CASES, example, kernel_slopes, loops

STYLE = LayerStyle(dtype="bfloat16")


@pytest.mark.parametrize("is_depthwise", [False, True])
@pytest.mark.parametrize(("shape", "inputs", "outputs", "kernel_px", "stride", "pads"), CASES)
def test_kernels_gradient_is_float32_and_that_of_the_definition(
    shape, inputs, outputs, kernel_px, stride, pads, is_depthwise
):
    x, kernel = example(shape, inputs, outputs, kernel_px, is_depthwise)
    cast = np.float64(kernel.astype(jnp.bfloat16))
    expected = loops(x, cast, stride, pads, is_depthwise)
    y, pull = jax.vjp(lambda x, kernel: convolve_mixed(x, kernel, stride, pads), x, kernel)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float64(y), expected, atol=0.01 * np.abs(expected).max())

    weights = jnp.asarray(np.random.default_rng(1).normal(size=y.shape), jnp.bfloat16)
    of_x, of_kernel = pull(weights)
    assert of_x.dtype == jnp.bfloat16
    assert of_kernel.dtype == jnp.float32
    slopes = kernel_slopes(x, kernel, weights, stride, pads, is_depthwise)
    np.testing.assert_allclose(of_kernel, slopes, rtol=1e-5, atol=1e-5 * np.abs(slopes).max())


def test_the_inputs_gradient_is_that_of_float32_up_to_bfloat16():
    x, kernel = example((2, 6, 5), 3, 4, 3, depthwise=False)

    def of_x(x):
        return jax.grad(lambda x: convolve_mixed(x, kernel, 1, ((1, 1), (1, 1))).astype(jnp.float32).sum())(x)

    expected = of_x(x.astype(jnp.float32))
    np.testing.assert_allclose(of_x(x).astype(jnp.float32), expected, atol=0.02 * np.abs(expected).max())


@pytest.mark.parametrize("layer", [Conv(4, 3, STYLE, use_bias=True), DepthwiseConv(3, STYLE)])
def test_on_tpu_a_layers_convolutions_give_its_kernels_gradient_in_float32(layer):
    x = jnp.zeros((2, 8, 8, 4), jnp.bfloat16)
    variables = layer.init(jax.random.key(0), x)

    def gradient(variables):
        return jax.grad(lambda variables: layer.apply(variables, x).astype(jnp.float32).sum())(variables)

    text = jax.jit(gradient).trace(variables).lower(lowering_platforms=("tpu",)).as_text()
    results = re.findall(r"stablehlo\.convolution.*-> tensor<(\w+)>", text)
    kernel = "x".join(map(str, variables["params"]["kernel"].shape))
    assert [result for result in results if result.startswith(kernel)] == [f"{kernel}xf32"]
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(jax.eval_shape(gradient, variables)))
