from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.models.layers import upsample_bilinear
from selftrain_jax.models.segmenter import fuse, make_segmenter
from selftrain_jax.models.settings import BACKBONES
from tests.models.random_variables import random_variables

pytestmark = pytest.mark.compiles

PAPER = dict(num_classes=21, nas_fpn_repeats=7, separable=True, bn_epsilon=1e-3)
TINY = dict(
    backbone="resnet18", width_factor=0.125, num_classes=3, fpn_channels=8, nas_fpn_repeats=1, head_channels=8
)


def shapes_of(model, height_px=128, width_px=128):
    images = jax.ShapeDtypeStruct((2, height_px, width_px, 3), jnp.float32)
    return jax.eval_shape(partial(model.init_with_output, train=False), jax.random.key(0), images)


@pytest.mark.parametrize("backbone", ["resnet18", "efficientnet_lite0", "spinenet49s"])
def test_logits_are_a_quarter_of_the_image_and_names_are_those_of_the_importer(backbone):
    logits, variables = shapes_of(make_segmenter(backbone=backbone, num_classes=5, head_channels=16))
    assert (logits.shape, logits.dtype) == ((2, 32, 32, 5), jnp.float32)
    own_neck = backbone in BACKBONES[-5:]
    assert set(variables["params"]) == {"backbone", "segmenter"} | (set() if own_neck else {"fpn"})
    head = {f"head_{part}{i}" for part in ("conv", "bn") for i in range(3)} | {"classifier"}
    assert set(variables["params"]["segmenter"]) == head


@pytest.mark.parametrize(
    ("neck", "height_px", "width_px"), [("nas_fpn", 32, 160), ("fpn", 96, 224), ("nas_fpn", 100, 130)]
)
def test_sizes_that_are_no_multiple_of_128_work(neck, height_px, width_px):
    logits, _ = shapes_of(make_segmenter(**TINY, neck=neck), height_px, width_px)
    assert logits.shape == (2, -(-height_px // 4), -(-width_px // 4), 3)


def test_bfloat16_keeps_variables_and_logits_in_float32():
    outputs = shapes_of(make_segmenter(**TINY, dtype="bfloat16"))
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(outputs))


@pytest.mark.parametrize(("height", "width"), [(32, 64), (40, 56), (26, 33)])  # of level 2; 7 has cells of 32
@pytest.mark.parametrize("levels", [range(3, 8), range(2, 5), range(4, 5)])
def test_fusion_is_the_sum_of_every_level_upsampled_by_itself(height, width, levels):
    random = np.random.default_rng(0)
    pyramid = {
        n: jnp.asarray(random.normal(size=(1, -(-height // 2 ** (n - 2)), -(-width // 2 ** (n - 2)), 2)), "f")
        for n in levels
    }
    up = jax.jit(upsample_bilinear, static_argnums=1)
    expected = sum(up(x, 2 ** (n - 2))[:, :height, :width] for n, x in pyramid.items())
    found = jax.jit(fuse, static_argnums=(1, 2))(pyramid, height, width)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_head_starts_near_nothing_known():
    model = make_segmenter(**(TINY | dict(head_channels=64)))
    rng, image = jax.random.key(0), jnp.zeros((1, 32, 32, 3))
    head = jax.jit(lambda: model.init(rng, image, train=False)["params"]["segmenter"])()
    for name in ("head_conv1", "head_conv2"):
        assert np.std(head[name]["kernel"]) == pytest.approx(0.01, rel=0.05)
    assert all(not np.any(head[name]["bias"]) for name in head)
    assert np.abs(head["classifier"]["kernel"]).max() < 0.05


def test_every_level_reaches_the_logits():
    """With a level's features as zeros the logits change."""
    model = make_segmenter(**TINY, neck="fpn")
    image = jax.random.normal(jax.random.key(1), (1, 128, 128, 3))
    variables = random_variables(partial(model.init, train=False), jax.random.key(0), image)
    run = jax.jit(partial(model.apply, train=False))
    whole, fpn = run(variables, image), variables["params"]["fpn"]
    for level in range(3, 8):
        muted = fpn | {f"bn{level}": jax.tree.map(np.zeros_like, fpn[f"bn{level}"])}
        without = run({**variables, "params": variables["params"] | {"fpn": muted}}, image)
        assert np.abs(without - whole).max() > 1e-3, level


def test_each_part_has_the_settings_of_its_own():
    model = make_segmenter(backbone="efficientnet_b7", **PAPER)
    assert (model.backbone.style.activation, model.backbone.style.bn_epsilon) == ("swish", 1e-3)
    assert (model.style.activation, model.style.bn_momentum, model.style.bn_epsilon) == ("relu", 0.997, 1e-3)
    assert model.fpn.style == model.style
    assert (model.fpn.separable, model.fpn.num_repeats) == (True, 7)
    assert (model.head_convs, model.head_channels) == (3, 256)
    assert make_segmenter(**TINY, head_convs=1).head_convs == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"backbone": "resnet51"}, "resnet50"),
        ({"neck": "fpn", "separable": True}, "not for fpn"),
        ({"backbone": "spinenet49", "neck": "nas_fpn", "width_factor": 1.0}, "its own neck"),
        ({"backbone": "spinenet49", "separable": True, "width_factor": 1.0}, "which SpineNet does not have"),
    ],
)
def test_what_does_not_exist_or_fit_is_refused(settings, words):
    with pytest.raises(InputError, match=words):
        make_segmenter(**(TINY | settings))


def test_other_levels_than_nas_fpns_are_refused():
    with pytest.raises(InputError, match="levels 3 to 7, not 3 to 6"):
        shapes_of(make_segmenter(**TINY, max_level=6))
