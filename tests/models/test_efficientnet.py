from functools import cache, partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.models.batch_norm import BatchNorm
from selftrain_jax.models.efficientnet import (
    CONV_INIT,
    DEPTHWISE_INIT,
    VARIANTS,
    EfficientNet,
    MBConv,
    Stage,
    scale_blocks,
)
from tests.models.random_variables import random_variables

pytestmark = pytest.mark.compiles

STYLE = EfficientNet().style


@cache
def traced(variant, train=False):
    """Return the features' and variables' shapes, the settings of every norm, and each block's survival."""
    norms, survivals = [], []

    def watch(call, args, kwargs, context):
        if isinstance(context.module, BatchNorm):
            norms.append((context.module.momentum, context.module.epsilon))
        if isinstance(context.module, MBConv) and context.method_name == "__call__":
            survivals.append(context.module.survival)
        return call(*args, **kwargs)

    net = EfficientNet(variant)
    rngs = {"params": jax.random.key(0), "drop": jax.random.key(1)}
    with nn.intercept_methods(watch):
        features, variables = jax.eval_shape(
            lambda images: net.init_with_output(rngs, images, train=train),
            jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32),
        )
    return features, variables, norms, survivals


@pytest.mark.parametrize(
    ("variant", "channels"),
    [
        ("b0", (16, 24, 40, 112, 320)),
        ("b7", (32, 48, 80, 224, 640)),
        ("l2", (72, 104, 176, 480, 1376)),
        ("lite2", (16, 24, 48, 120, 352)),
    ],
)
def test_features_of_level_n_have_stride_2_to_the_n(variant, channels):
    features = traced(variant)[0]
    expected = {n: (1, 64 >> n, 64 >> n, c) for n, c in enumerate(channels, start=1)}
    assert {level: x.shape for level, x in features.items()} == expected


@pytest.mark.parametrize(
    ("variant", "num_blocks", "last_of_level"),
    [("b7", 55, [3, 10, 17, 37, 54]), ("l2", 88, [5, 16, 27, 59, 87])],
)
def test_levels_end_where_the_authors_endpoints_are(variant, num_blocks, last_of_level):
    blocks = scale_blocks(VARIANTS[variant])
    strided = [i for i, block in enumerate(blocks) if block.stride == 2]
    assert [*(i - 1 for i in strided), len(blocks) - 1] == last_of_level
    assert len(blocks) == num_blocks


def test_names_are_the_contracts():
    params = traced("b0")[1]["params"]
    assert sorted(params) == sorted(["stem", "stem_bn", *(f"block{i}" for i in range(16))])
    first = {"depthwise", "depthwise_bn", "se_reduce", "se_expand", "project", "project_bn"}
    assert set(params["block0"]) == first
    assert set(params["block1"]) == first | {"expand", "expand_bn"}
    assert params["block3"]["depthwise"]["kernel"].shape == (5, 5, 1, 144)
    assert params["block1"]["se_reduce"]["kernel"].shape == (1, 1, 96, 4)  # a quarter of the block's input


def test_lite_has_no_gates_and_keeps_the_ends_depths():
    params = traced("lite1")[1]["params"]
    assert not any(name.startswith("se_") for block in params.values() for name in block)
    # The published weights' blocks: 21 where B1 has 23.
    assert [len(scale_blocks(VARIANTS[f"lite{i}"])) for i in range(3)] == [16, 21, 21]
    assert traced("lite2")[1]["params"]["stem"]["kernel"].shape[-1] == 32


def test_every_norm_keeps_99_of_100_and_adds_a_thousandth():
    norms = traced("b0")[2]
    assert len(norms) == 1 + 2 + 15 * 3
    assert set(norms) == {(0.99, 1e-3)}


def test_survival_falls_by_the_block():
    survivals = traced("b0", train=True)[3]
    np.testing.assert_allclose(survivals, [1 - 0.2 * i / 16 for i in range(16)])


def conv(x, kernel, stride=1, depthwise=False):
    """Convolve as TensorFlow's "same" does, pixel by pixel."""
    size, (height, width) = kernel.shape[0], x.shape[1:3]
    out = [-(-n // stride) for n in (height, width)]
    total = [max((o - 1) * stride + size - n, 0) for o, n in zip(out, (height, width), strict=True)]
    x = np.pad(x, ((0, 0), *((t // 2, t - t // 2) for t in total), (0, 0)))
    rule = "bijc,ijc->bc" if depthwise else "bijc,ijcd->bd"
    kernel = kernel[:, :, 0] if depthwise else kernel
    rows = [
        [np.einsum(rule, x[:, r * stride :, c * stride :][:, :size, :size], kernel) for c in range(out[1])]
        for r in range(out[0])
    ]
    return np.array(rows).transpose(2, 0, 1, 3)


def sigmoid(x):
    return (1 + np.tanh(x / 2)) / 2


def mbconv_by_hand(x, variables, stride):
    params, stats = variables["params"], variables["batch_stats"]

    def bn(y, name):
        y = (y - stats[name]["mean"]) / np.sqrt(stats[name]["var"] + 1e-3)
        return y * params[name]["scale"] + params[name]["bias"]

    y = x
    if "expand" in params:
        y = bn(conv(y, params["expand"]["kernel"]), "expand_bn")
        y = y * sigmoid(y)
    y = bn(conv(y, params["depthwise"]["kernel"], stride, depthwise=True), "depthwise_bn")
    y = y * sigmoid(y)
    pooled = y.mean((1, 2), keepdims=True)
    squeezed = conv(pooled, params["se_reduce"]["kernel"]) + params["se_reduce"]["bias"]
    squeezed = squeezed * sigmoid(squeezed)
    y = y * sigmoid(conv(squeezed, params["se_expand"]["kernel"]) + params["se_expand"]["bias"])
    y = bn(conv(y, params["project"]["kernel"]), "project_bn")
    return x + y if x.shape == y.shape else y


@pytest.mark.parametrize(("stride", "expansion", "filters"), [(1, 6, 8), (2, 6, 8), (1, 1, 4)])
def test_block_by_hand(stride, expansion, filters):
    block = MBConv(Stage(1, 5, stride, expansion, filters), True, 1.0, STYLE)
    x = jax.random.normal(jax.random.key(0), (2, 4, 5, 8))
    variables = random_variables(partial(block.init, train=False), jax.random.key(0), x)
    # Small variances, so that the epsilon counts.
    random = np.random.default_rng(1)
    variables = jax.tree.map(lambda v: v + np.float32(0.3 * random.normal(size=v.shape)), variables)
    variables["batch_stats"] = jax.tree.map(lambda v: 0.01 * np.abs(v), variables["batch_stats"])
    found = jax.jit(partial(block.apply, train=False))(variables, x)
    expected = mbconv_by_hand(np.asarray(x), variables, stride)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * expected.std())


def test_dropped_samples_are_the_shortcut_and_survivors_double_their_branch():
    x = jax.random.normal(jax.random.key(0), (16, 4, 4, 8))
    sure, halved = (MBConv(Stage(1, 3, 1, 1, 8), True, survival, STYLE) for survival in (1.0, 0.5))
    variables = random_variables(partial(sure.init, train=False), jax.random.key(0), x)

    @jax.jit
    def both(variables, x):
        def run(block, **rngs):
            return block.apply(variables, x, train=True, mutable=["batch_stats"], rngs=rngs)[0]

        return run(sure), run(halved, drop=jax.random.key(3))

    whole, found = both(variables, x)
    dropped = np.all(found == x, axis=(1, 2, 3))
    assert 0 < dropped.sum() < 16
    np.testing.assert_allclose((found - x)[~dropped], 2 * (whole - x)[~dropped], rtol=1e-4, atol=1e-5)


def test_inference_drops_nothing_and_needs_no_rng():
    x = jax.random.normal(jax.random.key(0), (4, 4, 4, 8))
    block = MBConv(Stage(1, 3, 1, 1, 8), False, 0.1, STYLE)
    variables = random_variables(partial(block.init, train=False), jax.random.key(0), x)
    y = jax.jit(partial(block.apply, train=False))(variables, x)
    assert not np.any(np.all(y == x, axis=(1, 2, 3)))


def test_kernels_start_with_variance_2_over_what_they_feed():
    draw = jax.jit(lambda key: (CONV_INIT(key, (3, 3, 8, 64)), DEPTHWISE_INIT(key, (5, 5, 1, 400))))
    full, depthwise = draw(jax.random.key(0))
    np.testing.assert_allclose(np.std(full), np.sqrt(2 / (9 * 64)), rtol=0.04)
    np.testing.assert_allclose(np.std(depthwise), np.sqrt(2 / 25), rtol=0.04)
    assert np.abs(full).max() > 2.5 * np.sqrt(2 / (9 * 64))  # not truncated


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"variant": "b9"}, "'b9' does not exist; use one of b0, .* lite2"),
        ({"drop_connect_rate": 1.0}, "1.0"),
    ],
)
def test_settings_that_cannot_be_are_refused(setting, message):
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    with pytest.raises(InputError, match=message):
        jax.eval_shape(partial(EfficientNet(**setting).init, train=False), jax.random.key(0), images)
