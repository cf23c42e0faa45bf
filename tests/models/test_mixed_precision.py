import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.models.convolution import convolve_mixed
from selftrain_jax.models.layers import Conv, DepthwiseConv, LayerStyle

STYLE = LayerStyle(dtype="bfloat16")

CASES = [  # input, channels in, channels out, kernel, stride, pads
    ((2, 6, 5), 3, 4, 3, 1, ((1, 1), (1, 1))),
    ((2, 6, 5), 3, 4, 1, 2, ((0, 0), (0, 0))),
    ((3, 8, 7), 2, 4, 3, 2, ((0, 1), (1, 1))),  # a last row or column that no kernel reaches
    ((2, 7, 7), 1, 4, 5, 2, ((1, 2), (2, 2))),
    ((2, 2, 2), 3, 2, 3, 1, ((1, 1), (1, 1))),  # smaller than the kernel
]


def example(shape, inputs, outputs, kernel_px, depthwise):
    random = np.random.default_rng(0)
    channels = (1, inputs) if depthwise else (inputs, outputs)
    x = jnp.asarray(random.normal(size=(*shape, inputs)), jnp.bfloat16)
    return x, jnp.asarray(random.normal(size=(kernel_px, kernel_px, *channels)), jnp.float32)


def loops(x, kernel, stride, pads, is_depthwise):
    """The convolution by its definition, pixel by pixel, in NumPy's float64."""
    x = np.pad(np.float64(x), ((0, 0), *pads, (0, 0)))
    size = len(kernel)
    rows, columns = ((n - size) // stride + 1 for n in x.shape[1:3])
    y = np.zeros((len(x), rows, columns, kernel.shape[3]))
    for i in range(rows):
        for j in range(columns):
            window = x[:, i * stride : i * stride + size, j * stride : j * stride + size]
            if is_depthwise:
                y[:, i, j] = np.einsum("bklc,klc->bc", window, kernel[:, :, 0])
            else:
                y[:, i, j] = np.einsum("bklc,klco->bo", window, kernel)
    return y


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
    slopes = np.zeros(kernel.shape)
    for index in np.ndindex(*kernel.shape):  # linear in the kernel: a unit kernel's output is the slope
        unit = np.zeros(kernel.shape)
        unit[index] = 1
        slopes[index] = (np.float64(weights) * loops(x, unit, stride, pads, is_depthwise)).sum()
    np.testing.assert_allclose(of_kernel, slopes, rtol=1e-5, atol=1e-5 * np.abs(slopes).max())


def test_the_inputs_gradient_is_that_of_float32_up_to_bfloat16():
    x, kernel = example((2, 6, 5), 3, 4, 3, depthwise=False)

    def of_x(x):
        return jax.grad(lambda x: convolve_mixed(x, kernel, 1, ((1, 1), (1, 1))).astype(jnp.float32).sum())(x)

    expected = of_x(x.astype(jnp.float32))
    np.testing.assert_allclose(of_x(x).astype(jnp.float32), expected, atol=0.02 * np.abs(expected).max())


@pytest.mark.parametrize("layer", [Conv(4, 3, STYLE, use_bias=True), DepthwiseConv(3, STYLE)])
@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_a_layers_convolutions_give_its_kernels_gradient_in_float32(layer, platform):
    x = jnp.zeros((2, 8, 8, 4), jnp.bfloat16)
    variables = layer.init(jax.random.key(0), x)

    def gradient(variables):
        return jax.grad(lambda variables: layer.apply(variables, x).astype(jnp.float32).sum())(variables)

    text = jax.jit(gradient).trace(variables).lower(lowering_platforms=(platform,)).as_text()
    results = re.findall(r"stablehlo\.convolution.*-> tensor<(\w+)>", text)
    kernel = "x".join(map(str, variables["params"]["kernel"].shape))
    assert [result for result in results if result.startswith(kernel)] == [f"{kernel}xf32"]
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(jax.eval_shape(gradient, variables)))
