"""Depths and factors by hand, for backbones of blocks in stages and of blocks in a row."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.models.settings import NetworkSettings, make_backbone
from selftrain_jax.train.layer_decay import layer_depths, layer_factors, scale_layers
from selftrain_jax.train.optimizer import adamw, momentum_sgd

VIT = ["patches", "class_token", "registers", "positions", *(f"block{i}" for i in range(12)), "norm"]


def modules_of(name):
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    init = functools.partial(make_backbone(NetworkSettings(backbone=name)).init, train=False)
    return list(jax.eval_shape(init, jax.random.key(0), image)["params"])


@pytest.mark.compiles
def test_convnexts_layers_are_those_of_its_authors():
    """3, 3, 27 and 3 blocks are 12 layers; what leads to a stage is in its first."""
    depths, num_layers = layer_depths(modules_of("convnext_base"))
    assert num_layers == 12
    expected = {
        "stem": 0,
        "stem_norm": 0,
        "c3_norm": 2,
        "c3_downsample": 2,
        "c4_downsample": 3,
        "c5_norm": 12,
    }
    expected |= {"c2_block0": 1, "c2_block2": 1, "c3_block1": 2, "c5_block0": 12, "c5_block2": 12}
    expected |= {f"c4_block{i}": 3 + i // 3 for i in range(27)}
    assert {name: depths[name] for name in expected} == expected
    assert layer_depths(modules_of("convnext_tiny"))[1] == 6


@pytest.mark.compiles
def test_an_efficientnets_blocks_are_a_layer_each_and_a_resnets_three():
    depths, num_layers = layer_depths(modules_of("efficientnet_b0"))
    assert depths == {"stem": 0, "stem_bn": 0, **{f"block{i}": i + 1 for i in range(16)}}
    assert num_layers == 16
    depths, num_layers = layer_depths(modules_of("resnet50"))  # 3, 4, 6 and 3 blocks
    assert num_layers == 1 + 2 + 2 + 1
    assert (depths["c3_block2"], depths["c3_block3"], depths["c4_block0"], depths["c5_block2"]) == (
        2,
        3,
        4,
        6,
    )


def test_a_transformers_tokens_are_its_input_and_its_last_norm_keeps_the_rate():
    factors = layer_factors(VIT, 0.5)
    assert factors["block11"] == 0.5
    assert factors["block10"] == 0.25
    assert factors["block0"] == 0.5**12
    assert {factors[name] for name in VIT[:4]} == {0.5**13}
    assert factors["norm"] == 1


@pytest.mark.parametrize("make", [adamw, momentum_sgd])
def test_updates_and_their_decay_shrink_by_depth_and_heads_keep_theirs(make):
    layer = {"kernel": jnp.array([2.0])}
    blocks = {"stem": layer, "c2_block0": layer, "c2_block2": layer, "c3_norm": layer, "c3_block0": layer}
    params = {
        "backbone": {**blocks, "positions": jnp.array([2.0])},
        "fpn": {"lateral3": layer},
        "head": layer,
    }
    plain, tx = make(weight_decay=0.5), make(weight_decay=0.5, layer_decay=0.5)
    full, _ = plain.update(params, plain.init(params), params)
    found, _ = tx.update(params, tx.init(params), params)
    factors = {"stem": 1 / 8, "c2_block0": 1 / 4, "c2_block2": 1 / 4, "c3_norm": 1 / 2, "c3_block0": 1 / 2}
    for name, factor in factors.items():
        np.testing.assert_allclose(
            found["backbone"][name]["kernel"], factor * full["backbone"][name]["kernel"], rtol=1e-6
        )
    np.testing.assert_allclose(found["backbone"]["positions"], full["backbone"]["positions"] / 8, rtol=1e-6)
    assert found["fpn"] == full["fpn"]
    assert found["head"] == full["head"]


def test_with_a_decay_of_one_the_state_is_as_without():
    params = {"backbone": {"kernel": jnp.ones(1)}}
    plain, same = (momentum_sgd(weight_decay=0.1, **extra) for extra in ({}, {"layer_decay": 1.0}))
    assert str(plain.init(params)) == str(same.init(params))


@pytest.mark.compiles
def test_a_backbone_without_an_order_of_blocks_is_refused():
    with pytest.raises(InputError, match="layer_decay is for a backbone whose blocks are in a row"):
        scale_layers(0.5).init({"backbone": dict.fromkeys(modules_of("spinenet49s"))})


@pytest.mark.parametrize("decay", [0.0, -0.5, 1.5, float("nan")])
def test_a_decay_that_is_no_share_is_refused(decay):
    with pytest.raises(InputError, match=r"config\.optimizer\.layer_decay=.*above 0 and at most 1"):
        adamw(weight_decay=0.0, layer_decay=decay)
