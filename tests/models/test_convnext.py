"""ConvNeXt's size and cost are the published ones, and it serves the networks as other backbones do."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.models.classifier import make_classifier
from selftrain_jax.models.convnext import ConvNeXt, ConvNeXtBlock, make_convnext
from selftrain_jax.models.cost import count_multiply_adds
from selftrain_jax.models.layers import LayerStyle
from selftrain_jax.models.pooled_features import pooled_features
from selftrain_jax.models.retinanet import make_retinanet
from selftrain_jax.models.segmenter import make_segmenter
from selftrain_jax.models.settings import NetworkSettings, make_backbone
from selftrain_jax.types import FittedImages
from tests.models.random_variables import random_variables

pytestmark = pytest.mark.compiles

SMALL = dict(blocks=(1, 1, 2, 1), filters=(8, 16, 24, 32))


def images(size_px, batch=1):
    return jax.ShapeDtypeStruct((batch, size_px, size_px, 3), jnp.float32)


@cache
def shapes_of(model, size_px):
    return jax.eval_shape(partial(model.init_with_output, train=False), jax.random.key(0), images(size_px))


def count(tree):
    return sum(x.size for x in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    ("name", "num_params", "giga_multiply_adds"),
    [  # Table 1 rounds to 29 M and 4.5, 50 M and 8.7, 89 M and 15.4; these are timm's
        ("convnext_tiny", 28_589_128, 4.46),
        ("convnext_small", 50_223_688, 8.69),
        ("convnext_base", 88_591_464, 15.36),
    ],
)
def test_parameters_and_multiply_adds_are_the_published(name, num_params, giga_multiply_adds):
    model = make_classifier(name)
    logits, variables = shapes_of(model, 224)
    assert logits.shape == (1, 1000)
    assert count(variables) == num_params
    channels = variables["params"]["dense"]["kernel"].shape[0]
    assert count(variables["params"]["backbone"]) == num_params - 1000 * (channels + 1) - 2 * channels
    cost = count_multiply_adds(partial(model.apply, train=False), variables, images(224))
    assert cost == pytest.approx(1e9 * giga_multiply_adds, rel=0.01)


def test_features_are_of_strides_4_to_32_and_images_are_padded_to_whole_cells():
    features, variables = shapes_of(make_convnext("base"), 96)
    assert {level: x.shape for level, x in features.items()} == {
        level: (1, 96 // 2**level, 96 // 2**level, 64 * 2 ** (level - 1)) for level in range(2, 6)
    }
    assert variables.keys() == {"params"}
    odd, _ = shapes_of(ConvNeXt(**SMALL), 75)
    assert {level: x.shape[1] for level, x in odd.items()} == {2: 19, 3: 10, 4: 5, 5: 3}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_features_have_the_styles_dtype_and_variables_are_float32(dtype):
    features, variables = shapes_of(ConvNeXt(**SMALL, style=LayerStyle(dtype=dtype)), 64)
    assert {x.dtype for x in features.values()} == {jnp.dtype(dtype)}
    assert {x.dtype for x in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


def test_a_block_in_bfloat16_is_near_the_block_in_float32():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 9, 9, 16)), jnp.float32)
    exact, rounded = (ConvNeXtBlock(1.0, LayerStyle(dtype=dtype)) for dtype in ("float32", "bfloat16"))
    variables = random_variables(lambda x: exact.init(jax.random.key(0), x, train=False), x)
    variables["params"]["gamma"] = jnp.full(16, 0.5)
    want, found = (jax.jit(partial(block.apply, train=False))(variables, x) for block in (exact, rounded))
    assert np.abs(np.asarray(want - x)).max() > 0.5  # the branch counts
    np.testing.assert_allclose(np.float32(found), want, atol=0.05)


def test_a_block_is_the_formula():
    """x + gamma · W2 gelu(W1 norm(depthwise(x) + b) + b1) + b2, by loops and numpy, at one pixel."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(1, 8, 8, 4)).astype(np.float32)
    block = ConvNeXtBlock(1.0, LayerStyle())
    shapes = jax.eval_shape(partial(block.init, train=False), jax.random.key(0), x)
    variables = jax.tree.map(lambda s: rng.normal(size=s.shape).astype(np.float32), shapes)
    p = variables["params"]
    window = np.pad(x[0], ((3, 3), (3, 3), (0, 0)))[1:8, 6:13]  # around pixel (1, 6)
    y = (window * p["depthwise"]["kernel"][:, :, 0]).sum((0, 1)) + p["depthwise"]["bias"]
    y = (y - y.mean()) / np.sqrt(y.var() + 1e-6) * p["norm"]["scale"] + p["norm"]["bias"]
    y = y @ p["expand"]["kernel"] + p["expand"]["bias"]
    y = np.array([0.5 * v * (1 + jax.scipy.special.erf(v / np.sqrt(2))) for v in y])
    y = y @ p["project"]["kernel"] + p["project"]["bias"]
    found = jax.jit(partial(block.apply, train=False))(variables, x)[0, 1, 6]
    np.testing.assert_allclose(found, x[0, 1, 6] + p["gamma"] * y, rtol=1e-4, atol=1e-4)


def test_blocks_are_dropped_more_often_the_deeper_they_are():
    """Of n = 5 blocks and a rate of 0.4 the last is kept with probability 0.6."""
    model = ConvNeXt(**SMALL, drop_connect_rate=0.4)
    survivals = [model._survival(number) for number in range(5)]
    np.testing.assert_allclose(survivals, [1, 0.9, 0.8, 0.7, 0.6])
    assert [make_convnext(size).drop_connect_rate for size in ("tiny", "small", "base")] == [0.1, 0.4, 0.5]
    assert make_convnext("base", 0.0).drop_connect_rate == 0


def test_a_dropped_block_passes_its_input_on_and_a_kept_one_counts_for_both():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(16, 7, 7, 8)), jnp.float32)
    block = ConvNeXtBlock(0.5, LayerStyle())
    variables = random_variables(lambda x: block.init(jax.random.key(0), x, train=False), x)
    variables["params"]["gamma"] = jnp.ones(8)
    branch = jax.jit(partial(block.apply, train=False))(variables, x) - x
    run = jax.jit(lambda v, x, key: block.apply(v, x, train=True, rngs={"drop": key}))
    share = np.asarray((run(variables, x, jax.random.key(1)) - x) / branch)
    kept = np.median(share.reshape(16, -1), axis=1)
    assert set(np.round(kept, 3)) == {0.0, 2.0}


@pytest.mark.parametrize("neck", ["fpn", "nas_fpn"])
def test_detector_and_segmenter_take_it_with_either_neck(neck):
    detector = make_retinanet(backbone="convnext_tiny", neck=neck, num_classes=3)
    (logits, _), variables = shapes_of(detector, 128)
    assert logits.shape == (1, 9 * sum((128 // 2**level) ** 2 for level in range(3, 8)), 3)
    assert "backbone" not in variables["batch_stats"]
    segmenter = make_segmenter(backbone="convnext_tiny", neck=neck, num_classes=5)
    assert shapes_of(segmenter, 128)[0].shape == (1, 32, 32, 5)


def test_features_of_an_image_need_no_statistics_of_the_backbone():
    model = make_retinanet(backbone="convnext_tiny", num_classes=3)
    fitted = FittedImages(images(128), jax.ShapeDtypeStruct((1, 2), jnp.int32))
    found = jax.eval_shape(partial(pooled_features, model, stride_px=128), shapes_of(model, 128)[1], fitted)
    assert found.shape == (1, 768)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"width_factor": 0.5}, "width_factor=0.5 is for ResNets, not for convnext_tiny"),
        ({"pool_padding": "fixed"}, "pool_padding=fixed is for ResNets"),
        ({"backbone_bn_momentum": 0.9}, "backbone_bn_momentum=0.9: convnext_tiny has no BatchNorm; use 0"),
        ({"drop_connect_rate": 1.0}, "is not a probability below 1"),
    ],
)
def test_values_that_do_not_apply_are_refused(setting, message):
    with pytest.raises(InputError, match=message):
        make_backbone(NetworkSettings(backbone="convnext_tiny", **setting))


def test_an_unknown_size_lists_those_that_exist():
    with pytest.raises(InputError, match="'huge' does not exist; use one of tiny, small, base"):
        make_convnext("huge")
