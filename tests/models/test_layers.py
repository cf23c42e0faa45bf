import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.models.layers import (
    Conv,
    DepthwiseConv,
    LayerStyle,
    SeparableConv,
    drop_connect,
    padding_px,
)


@pytest.mark.parametrize(
    ("size_px", "kernel_px", "stride", "same", "fixed"),
    [
        (8, 3, 1, (1, 1), (1, 1)),
        (8, 3, 2, (0, 1), (1, 1)),  # TensorFlow's "same" leans to the end where the size is even
        (7, 3, 2, (1, 1), (1, 1)),
        (8, 1, 2, (0, 0), (0, 0)),
        (8, 7, 2, (2, 3), (3, 3)),
        (8, 2, 2, (0, 0), (0, 1)),
    ],
)
def test_padding_by_hand(size_px, kernel_px, stride, same, fixed):
    assert padding_px(size_px, kernel_px, stride, "same") == same
    assert padding_px(size_px, kernel_px, stride, "fixed") == fixed


@pytest.mark.parametrize(("padding", "before"), [("same", 0), ("fixed", 1)])
def test_strided_conv_is_the_sum_over_its_window(padding, before):
    random = np.random.default_rng(0)
    x = random.normal(size=(1, 4, 4, 2)).astype(np.float32)
    kernel = jnp.asarray(random.normal(size=(3, 3, 2, 3)), jnp.float32)
    conv = Conv(3, 3, LayerStyle(), stride=2, padding=padding, use_bias=True)
    found = conv.apply({"params": {"kernel": kernel, "bias": jnp.arange(3.0)}}, jnp.asarray(x))
    padded = np.pad(x, ((0, 0), (before, 2), (before, 2), (0, 0)))
    expected = [
        [np.einsum("ijc,ijcd->d", padded[0, r : r + 3, c : c + 3], kernel) for c in (0, 2)] for r in (0, 2)
    ]
    np.testing.assert_allclose(found[0], np.array(expected) + np.arange(3), rtol=1e-4, atol=1e-5)


def test_bfloat16_computes_in_bfloat16_with_float32_variables():
    conv = Conv(2, 1, LayerStyle(dtype="bfloat16"), use_bias=True)
    y, variables = conv.init_with_output(jax.random.key(0), jnp.ones((1, 2, 2, 3)))
    assert y.dtype == jnp.bfloat16
    assert all(v.dtype == jnp.float32 for v in jax.tree.leaves(variables))


@pytest.mark.parametrize("setting", [{"activation": "gelu"}, {"dtype": "float64"}])
def test_unknown_setting_is_refused_with_what_exists(setting):
    ((key, value),) = setting.items()
    with pytest.raises(InputError, match=f"{key} is '{value}'; use one of"):
        LayerStyle(**setting)


def test_separable_is_a_depthwise_and_a_pointwise_with_bias():
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=(1, 4, 4, 2)), jnp.float32)
    conv = SeparableConv(3, 3, LayerStyle(), bias_init=jax.nn.initializers.constant(7.0))
    y, variables = conv.init_with_output(jax.random.key(0), x)
    shapes = jax.tree.map(lambda v: v.shape, variables["params"])
    assert shapes == {
        "depthwise": {"kernel": (3, 3, 1, 2)},
        "pointwise": {"kernel": (1, 1, 2, 3), "bias": (3,)},
    }
    middle = DepthwiseConv(3, LayerStyle()).apply({"params": variables["params"]["depthwise"]}, x)
    pointwise = variables["params"]["pointwise"]["kernel"][0, 0]
    np.testing.assert_allclose(y, middle @ pointwise + 7, rtol=1e-5, atol=1e-5)


def test_drop_connect_drops_whole_samples_and_keeps_the_mean():
    x = jax.random.uniform(jax.random.key(0), (4000, 2, 1, 2), minval=1.0, maxval=2.0)
    y = drop_connect(x, 0.8, jax.random.key(1))
    kept = np.asarray(y[:, 0, 0, 0] != 0)
    np.testing.assert_array_equal(y[~kept], 0)
    np.testing.assert_allclose(y[kept], x[kept] / 0.8, rtol=1e-6)
    assert abs(kept.mean() - 0.8) < 4 * np.sqrt(0.8 * 0.2 / 4000)


def test_drop_connect_of_sure_survival_is_the_identity():
    x = jax.random.normal(jax.random.key(0), (64, 1, 1, 1))
    np.testing.assert_array_equal(drop_connect(x, 1.0, jax.random.key(1)), x)


def test_relu6_ends_at_6():
    found = LayerStyle("relu6").activate(jnp.array([-1.0, 0.5, 6.0, 7.0]))
    np.testing.assert_array_equal(found, [0, 0.5, 6, 6])


@pytest.mark.parametrize("activation", ["relu", "relu6", "swish"])
def test_activation_of_a_sum_and_its_gradients_are_those_of_the_sum(activation):
    style = LayerStyle(activation)
    a, b = (jnp.asarray(np.random.default_rng(seed).integers(-2, 3, 40), jnp.float32) for seed in (0, 1))
    assert (a + b == 0).any()
    expected = jax.vjp(lambda a, b: style.activate(a + b), a, b)
    found = jax.vjp(style.activate_sum, a, b)
    np.testing.assert_array_equal(found[0], expected[0])
    for own, theirs in zip(found[1](a + 7), expected[1](a + 7), strict=True):
        np.testing.assert_array_equal(own, theirs)
