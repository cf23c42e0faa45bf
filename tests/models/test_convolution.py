import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.models.convolution import convolve
from selftrain_jax.models.native_convolution import native

NONE = ((0, 0), (0, 0))


def example(shape, kernel_px, features):
    random = np.random.default_rng(0)
    kernel = random.normal(size=(kernel_px, kernel_px, shape[-1], features))
    return jnp.asarray(random.normal(size=shape), jnp.float32), jnp.asarray(kernel, jnp.float32)


@pytest.mark.parametrize(
    ("shape", "kernel_px", "stride", "pads"),
    [
        ((2, 5, 4, 3), 1, 1, NONE),
        ((2, 5, 4, 3), 1, 2, NONE),
        ((5, 24, 20, 2), 3, 1, ((1, 1), (1, 1))),  # 480 px: chunks of 2, 2 and 1 images
        ((3, 64, 60, 2), 3, 2, ((0, 1), (0, 1))),  # 960 px: an image a chunk
        ((34, 40, 40, 1), 3, 1, ((1, 1), (1, 1))),  # more images than chunks
        ((2, 2, 1, 3), 3, 1, ((1, 1), (1, 1))),  # smaller than the kernel
        ((2, 2, 2, 3), 5, 1, ((1, 3), (2, 2))),
        ((2, 2, 2, 3), 3, 2, ((0, 1), (0, 1))),
    ],
)
def test_cpu_form_equals_the_native_one_gradients_included(shape, kernel_px, stride, pads):
    x, kernel = example(shape, kernel_px, 4)

    @jax.jit
    def both(x, kernel):
        results = []
        for function in (convolve, native):
            y, pull = jax.vjp(lambda x, k, f=function: f(x, k, stride, pads), x, kernel)
            results.append((y, *pull(jnp.cos(jnp.arange(float(y.size))).reshape(y.shape))))
        return results

    for found, expected in zip(*both(x, kernel), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def convolutions(platform, function, *args):
    text = jax.jit(function).trace(*args).lower(lowering_platforms=(platform,)).as_text()
    return text.count("stablehlo.convolution")


def test_on_cpu_alone_a_1x1_is_a_product():
    x, kernel = example((2, 5, 4, 3), 1, 4)

    def step(x, kernel):
        return jax.value_and_grad(lambda x, k: convolve(x, k, 1, NONE).sum(), (0, 1))(x, kernel)

    assert convolutions("cpu", step, x, kernel) == 0
    assert convolutions("tpu", step, x, kernel) == convolutions("cuda", step, x, kernel) > 0


def test_on_cpu_alone_a_kernels_gradient_is_summed_over_chunks():
    x, kernel = example((5, 24, 20, 2), 3, 4)

    def gradient(kernel):
        return jax.grad(lambda k: (convolve(x, k, 1, ((1, 1), (1, 1))) ** 2).sum())(kernel)

    assert convolutions("cpu", gradient, kernel) == 1 + 3  # forward; two, two and one image
    assert convolutions("tpu", gradient, kernel) == convolutions("cuda", gradient, kernel) == 2


def test_bfloat16_stays_bfloat16():
    x, kernel = (v.astype(jnp.bfloat16) for v in example((2, 4, 4, 3), 3, 4))
    y, pull = jax.vjp(lambda x, k: convolve(x, k, 1, ((1, 1), (1, 1))), x, kernel)
    assert {v.dtype for v in (y, *pull(y))} == {jnp.dtype(jnp.bfloat16)}
