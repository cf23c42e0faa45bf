import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.models import platforms
from selftrain_jax.models.convolution import convolve
from selftrain_jax.models.cuda_convolution import convolve_cuda, kernel_gradient
from selftrain_jax.models.layers import Conv, DepthwiseConv, LayerStyle
from selftrain_jax.models.spatial_sharding import split_rows_over
from selftrain_jax.train.sharding import make_mesh, shard_batch, shard_state, with_mesh
from tests.models.convolution_cases import CASES, example, kernel_slopes, loops

STYLE = LayerStyle(dtype="bfloat16")
PADS = ((1, 1), (1, 1))


@pytest.mark.parametrize("is_depthwise", [False, True])
@pytest.mark.parametrize(("shape", "inputs", "outputs", "kernel_px", "stride", "pads"), CASES)
def test_output_and_gradients_are_those_of_the_definition_up_to_bfloat16(
    shape, inputs, outputs, kernel_px, stride, pads, is_depthwise
):
    x, kernel = example(shape, inputs, outputs, kernel_px, is_depthwise)
    y, pull = jax.vjp(lambda x, kernel: convolve_cuda(x, kernel, stride, pads), x, kernel)
    expected = loops(x, np.float64(kernel.astype(jnp.bfloat16)), stride, pads, is_depthwise)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float64(y), expected, atol=0.01 * np.abs(expected).max())

    weights = jnp.asarray(np.random.default_rng(1).normal(size=y.shape), jnp.bfloat16)
    of_x, of_kernel = pull(weights)
    assert (of_x.dtype, of_kernel.dtype) == (jnp.bfloat16, jnp.float32)
    slopes = kernel_slopes(x, kernel, weights, stride, pads, is_depthwise)
    np.testing.assert_allclose(of_kernel, slopes, rtol=0.005, atol=0.005 * np.abs(slopes).max())


def convolutions(function, *args):
    """Return the type of each convolution that the function is lowered to for CUDA."""
    text = jax.jit(function).trace(*args).lower(lowering_platforms=("cuda",)).as_text()
    return re.findall(r"stablehlo\.convolution.*: \((.*)\) -> (tensor<\w+>)", text)


@pytest.mark.parametrize("layer", [Conv(4, 3, STYLE, use_bias=True), DepthwiseConv(3, STYLE)])
def test_a_layers_convolutions_are_bfloat16_and_its_gradients_float32(layer):
    x = jnp.zeros((2, 8, 8, 4), jnp.bfloat16)
    variables = layer.init(jax.random.key(0), x)

    def gradient(variables, x):
        def loss(variables, x):
            return layer.apply(variables, x).astype(jnp.float32).sum()

        return jax.grad(loss, argnums=(0, 1))(variables, x)

    found = convolutions(gradient, variables, x)
    assert len(found) == 2  # of a linear loss: no output is needed
    assert "f32" not in str(found).replace("bf16", "")
    of_variables, _ = jax.eval_shape(gradient, variables, x)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(of_variables))


def test_channels_are_a_multiple_of_the_lane():
    x, kernel = example((2, 6, 5), 3, 13, 3, depthwise=False)

    def gradients(x, kernel):
        return jax.grad(lambda x, kernel: convolve_cuda(x, kernel, 1, PADS).sum(), (0, 1))(x, kernel)

    of_x, of_kernel = convolutions(gradients, x, kernel)
    assert of_x == ("tensor<2x6x5x16xbf16>, tensor<3x3x8x16xbf16>", "tensor<2x6x5x8xbf16>")
    assert of_kernel == ("tensor<2x6x5x8xbf16>, tensor<2x6x5x16xbf16>", "tensor<3x3x8x16xbf16>")


@pytest.mark.parametrize("axes", [{}, {"model": 2}])
def test_over_devices_the_parts_are_summed_in_float32(axes):
    mesh = make_mesh(**axes)
    x, kernel = example((4, 8, 8), 8, 8, 3, depthwise=False)
    gradient = jnp.asarray(np.random.default_rng(1).normal(size=x.shape), jnp.bfloat16)

    def of_batch(kernel, x, gradient):
        return kernel_gradient(x, kernel, gradient, 1, PADS)

    narrow = kernel.astype(jnp.bfloat16)
    arguments = shard_state(mesh, narrow), *shard_batch(mesh, (x, gradient))
    of_mesh = jax.jit(with_mesh(mesh, of_batch))
    expected = of_batch(narrow, x, gradient)
    np.testing.assert_allclose(of_mesh(*arguments), expected, atol=0.005 * np.abs(expected).max())
    sums = re.findall(r"stablehlo\.all_reduce.*?-> (tensor<\S+>)", of_mesh.lower(*arguments).as_text(), re.S)
    assert sums == ["tensor<3x3x8x8xf32>"]


@pytest.mark.parametrize(("space", "result"), [(1, "bf16"), (2, "f32")])
def test_where_devices_split_rows_gradients_are_those_of_tpus(space, result, monkeypatch):
    monkeypatch.setattr(platforms, "active_mesh", lambda: None)  # these are CPUs; trace all forms
    x, kernel = example((2, 16, 8), 8, 8, 3, depthwise=False)
    with split_rows_over(make_mesh(space=space)):
        found = convolutions(lambda kernel: jax.grad(lambda k: convolve(x, k, 1, PADS).sum())(kernel), kernel)
    assert [of for _, of in found] == [f"tensor<3x3x8x8x{result}>"]
