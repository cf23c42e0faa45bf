"""The simple pyramid alone, and between a vision transformer and the necks of detector and segmenter."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.models.layers import LayerStyle
from selftrain_jax.models.pooled_features import pooled_features
from selftrain_jax.models.retinanet import make_retinanet
from selftrain_jax.models.segmenter import make_segmenter
from selftrain_jax.models.settings import VITS
from selftrain_jax.models.simple_pyramid import Deconv, SimplePyramid
from selftrain_jax.types import FittedImages
from tests.models.random_variables import random_variables

SMALL = {"num_classes": 3, "head_convs": 1, "head_channels": 8, "fpn_channels": 8}


@pytest.fixture
def network(monkeypatch):
    """DINOv3's small network with two blocks of narrow tokens."""
    small = dataclasses.replace(VITS["vit_small_dinov3"], depth=2, width=24, num_heads=3)
    monkeypatch.setitem(VITS, "vit_small_dinov3", small)
    return "vit_small_dinov3"


def shapes_of(model, size_px=128, **kwargs):
    images = jax.ShapeDtypeStruct((1, size_px, size_px, 3), jnp.float32)
    return jax.eval_shape(partial(model.init_with_output, train=False, **kwargs), jax.random.key(0), images)


@pytest.mark.parametrize(
    ("min_level", "num_params"),
    [
        # Deconvolutions of 4·C·C2 weights and C2 biases, 768 to 384 and on to 192; LayerNorm of 384.
        (2, 4 * 768 * 384 + 384 + 2 * 384 + 4 * 384 * 192 + 192 + 4 * 768 * 384 + 384),
        (3, 4 * 768 * 384 + 384),
        (4, 0),
    ],
)
def test_levels_have_the_channels_and_parameters_of_vitdet(min_level, num_params):
    features = {4: jax.ShapeDtypeStruct((2, 8, 6, 768), jnp.float32)}
    pyramid = SimplePyramid(min_level)
    found, variables = jax.eval_shape(pyramid.init_with_output, jax.random.key(0), features)
    expected = {2: (2, 32, 24, 192), 3: (2, 16, 12, 384), 4: (2, 8, 6, 768), 5: (2, 4, 3, 768)}
    assert {level: x.shape for level, x in found.items()} == {n: expected[n] for n in range(min_level, 6)}
    assert list(found) == sorted(found)
    assert sum(x.size for x in jax.tree.leaves(variables)) == num_params


def test_deconvolution_is_xlas_transposed_convolution():
    random = np.random.default_rng(0)
    x, kernel = (jnp.asarray(random.normal(size=shape), "f") for shape in ((2, 3, 5, 4), (2, 2, 4, 6)))
    bias = jnp.arange(6.0)
    found = Deconv(6, LayerStyle()).apply({"params": {"kernel": kernel, "bias": bias}}, x)
    flipped = kernel[::-1, ::-1]  # JAX's applies the kernel as it is, to the input with zeros between
    expected = jax.lax.conv_transpose(x, flipped, (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    np.testing.assert_allclose(found, expected + bias, rtol=1e-4, atol=1e-5)


def test_coarsest_level_is_the_maximum_and_level_4_the_map_itself():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 4, 6, 8)), "f")
    found = SimplePyramid(min_level=4).apply({}, {4: x})
    np.testing.assert_array_equal(found[4], x)
    np.testing.assert_array_equal(found[5], np.asarray(x).reshape(1, 2, 2, 3, 2, 8).max((2, 4)))


def test_a_level_that_it_cannot_begin_at_is_refused():
    with pytest.raises(InputError, match="min_level=1"):
        SimplePyramid(min_level=1).init(jax.random.key(0), {4: jnp.zeros((1, 2, 2, 8))})


@pytest.mark.parametrize("name", ["vit_small_dinov2_reg4", "vit_small_dinov3"])
@pytest.mark.parametrize(("neck", "first"), [("fpn", 2), ("fpn", 3), ("fpn", 4), ("nas_fpn", 3)])
def test_detector_has_every_level_of_its_stride(name, neck, first):
    model = make_retinanet(backbone=name, neck=neck, min_level=first, **SMALL)
    (logits, boxes), variables = shapes_of(model, method="per_level")
    sizes = {level: 128 // 2**level for level in range(first, 8)}
    assert {level: x.shape for level, x in logits.items()} == {n: (1, s, s, 9 * 3) for n, s in sizes.items()}
    assert {level: x.shape for level, x in boxes.items()} == {n: (1, s, s, 9 * 4) for n, s in sizes.items()}
    assert set(variables["params"]) == {"backbone", "fpn", "class_net", "box_net"}
    assert set(variables["params"]["fpn"]) == {"neck"} | ({"pyramid"} if first < 4 else set())
    assert "backbone" not in variables["batch_stats"]


def test_segmenter_has_logits_of_a_quarter_with_either_neck():
    for neck, first in (("nas_fpn", 3), ("fpn", 2)):
        model = make_segmenter(backbone="vit_base_dinov2", neck=neck, min_level=first, **SMALL)
        assert shapes_of(model, 160)[0].shape == (1, 40, 40, 3)


@pytest.mark.compiles
@pytest.mark.parametrize(
    ("make", "dtype"),
    [(make_retinanet, "bfloat16"), (partial(make_segmenter, nas_fpn_repeats=1), "float32")],
    ids=["detector", "segmenter"],
)
def test_gradients_of_all_parameters_are_finite_in_training(network, make, dtype):
    model = make(backbone=network, dtype=dtype, **SMALL)
    random = np.random.default_rng(0)
    images = jnp.asarray(random.normal(size=(2, 128, 128, 3)), jnp.float32)
    shapes = shapes_of(model)[1]
    variables = jax.tree.map(lambda x: jnp.asarray(random.normal(size=x.shape) / 4, jnp.float32), shapes)

    def loss(params):
        outputs, _ = model.apply(
            {**variables, "params": params},
            images,
            train=True,
            rngs={"drop": jax.random.key(0)},
            mutable=["batch_stats"],
        )
        return sum(jnp.sum(jnp.tanh(x)) for x in jax.tree.leaves(outputs))

    gradients = jax.jit(jax.grad(loss))(variables["params"])
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradients))
    for part in (gradients["backbone"]["block0"], gradients["fpn"]["pyramid"]):
        assert all(np.abs(x).max() > 0 for x in jax.tree.leaves(part))


@pytest.mark.compiles
def test_pooled_features_are_of_the_backbones_one_map(network):
    model = make_retinanet(backbone=network, **SMALL)
    images = jax.random.normal(jax.random.key(0), (2, 64, 64, 3))
    alone = random_variables(partial(model.backbone.init, train=False), jax.random.key(0), images)
    inputs = FittedImages(images, jnp.full((2, 2), 64))
    found = pooled_features(model, {"params": {"backbone": alone["params"]}}, inputs, 32)
    apply = jax.jit(partial(model.backbone.apply, train=False))
    expected = np.asarray(apply(alone, images)[4]).mean((1, 2))
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5)
