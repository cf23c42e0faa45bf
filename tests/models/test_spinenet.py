import dataclasses

import flax.errors
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.models import spinenet
from selftrain_jax.models.layers import LayerStyle
from selftrain_jax.models.spinenet import NODES, SIZES, Resample, SpineBlock, SpineNet, unused_nodes
from tests.models.random_variables import random_variables

pytestmark = pytest.mark.compiles

RELU = LayerStyle("relu")


def shapes_of(size, height, width, train=False):
    def init(images):
        return SpineNet(size).init_with_output(jax.random.key(0), images, train=train)

    return jax.eval_shape(init, jax.ShapeDtypeStruct((2, height, width, 3), jnp.float32))


@pytest.mark.parametrize(("size", "channels"), [("49s", 128), ("190", 512)])
def test_features_of_level_n_have_stride_2_to_the_n(size, channels):
    features, _ = shapes_of(size, 128, 256)
    assert {n: x.shape for n, x in features.items()} == {
        n: (2, 128 >> n, 256 >> n, channels) for n in range(3, 8)
    }


def test_odd_images_round_every_level_up():
    features, _ = shapes_of("49s", 100, 100)
    assert {n: x.shape[1:3] for n, x in features.items()} == {
        3: (13, 13),
        4: (7, 7),
        5: (4, 4),
        6: (2, 2),
        7: (1, 1),
    }


def test_variables_are_the_same_for_every_image_size():
    """At 32 px levels 5 to 7 are all of one cell, and still each has its strided convolution."""
    assert shapes_of("49s", 32, 32)[1] == shapes_of("49s", 128, 128)[1]


def test_only_node_11_is_left_over_and_node_14_takes_it():
    assert {i: unused_nodes(i) for i in range(len(NODES)) if unused_nodes(i)} == {14: [11]}


@pytest.fixture(scope="module")
def wired():
    """A tiny network whose blocks pass on relu(input), run at random weights and with node 11 disturbed.

    Node 1's and the nodes' branches end in a normalisation of scale 0, so what a block gives out is the sum
    that went in.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(
            SIZES, "tiny", dataclasses.replace(SIZES["49"], filter_scale=1 / 16, endpoint_channels=4)
        )
        model = SpineNet("tiny", style=RELU)
        images = jnp.asarray(np.random.default_rng(0).normal(size=(1, 128, 128, 3)), jnp.float32)
        variables = random_variables(lambda: model.init(jax.random.key(0), images, train=False))
        for name, block in variables["params"].items():
            if "_block" in name and name != "stem_group0_block0":
                block["bn3" if "bn3" in block else "bn2"]["scale"] *= 0

        @jax.jit
        def run(variables):
            features, state = model.apply(variables, images, train=False, capture_intermediates=True)
            return features, {k: v["__call__"][0] for k, v in state["intermediates"].items() if "node" in k}

        features, nodes = run(variables)
        last_bn = variables["params"]["node11_block0"]["bn3"]
        last_bn["bias"] = last_bn["bias"] + 1  # not in place: the first run may still be reading
        return features, nodes, run(variables)[0]


def test_each_node_starts_from_the_sum_of_its_parents_and_node_14_from_node_11_too(wired):
    _, nodes, _ = wired
    assert np.any(nodes["node11_block0"])
    for i in range(2, 17):
        total = nodes[f"node{i}_resample0"] + nodes[f"node{i}_resample1"]
        total += nodes["node11_block0"] if i == 14 else 0
        np.testing.assert_allclose(nodes[f"node{i}_block0"], jax.nn.relu(total), rtol=1e-5, atol=1e-5)


def test_node_11_reaches_levels_5_to_7_alone(wired):
    features, _, disturbed = wired
    changed = {n: bool(np.any(features[n] != disturbed[n])) for n in features}
    assert changed == {3: False, 4: False, 5: True, 6: True, 7: True}


@pytest.mark.parametrize(
    ("width", "lit", "expected"),
    [
        # conv_down keeps cells 0, 2, 4, ...; a ratio of 4 leaves windows of 3, [0..2] [2..4] [4..6] [6..8]
        (16, 4, [1, 1, 0, 0]),
        (16, 6, [0, 1, 0, 0]),
        # a ratio of 8 leaves windows of 5, [0..4] [4..8] [8..12] [12..16]
        (32, 8, [1, 1, 0, 0]),
        (32, 14, [0, 1, 0, 0]),
        (8, 4, [0, 0, 1, 0]),  # a ratio of 2 leaves nothing to pool
    ],
)
def test_down_sampling_pools_what_the_strided_convolution_leaves(width, lit, expected):
    resample = Resample(1, 1, height=4, width=4, is_down=True, style=LayerStyle("relu", bn_epsilon=0.0))
    x = jnp.zeros((1, width, width, 1)).at[0, 0, lit].set(1)
    centre = np.zeros((3, 3, 1, 1), np.float32)
    centre[1, 1] = 1
    params = {"conv_in": np.ones((1, 1, 1, 1)), "conv_down": centre, "conv_out": np.ones((1, 1, 1, 1))}
    bn = {name: {"scale": jnp.ones(1), "bias": jnp.zeros(1)} for name in ("bn_in", "bn_down", "bn_out")}
    stats = {name: {"mean": jnp.zeros(1), "var": jnp.ones(1)} for name in bn}
    params = {k: {"kernel": jnp.asarray(v, jnp.float32)} for k, v in params.items()} | bn
    found = resample.apply({"params": params, "batch_stats": stats}, x, train=False)
    np.testing.assert_array_equal(found[0, 0, :, 0], expected)


def test_resampling_ends_without_an_activation():
    resample = Resample(2, 3, height=4, width=4, is_down=False, style=RELU)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 2, 2, 2)), jnp.float32)
    variables = random_variables(lambda: resample.init(jax.random.key(0), x, train=False))
    y = jax.jit(lambda v: resample.apply(v, x, train=False))(variables)
    assert np.min(y) < 0
    np.testing.assert_array_equal(y, np.repeat(np.repeat(y[:, ::2, ::2], 2, 1), 2, 2))


def test_drop_connect_keeps_or_drops_each_images_whole_branch():
    """Survivors count double at a rate of 0.5; statistics are the same for all, so the branches are equal."""
    x = jnp.ones((16, 1, 1, 2))
    block = SpineBlock("residual", 2, RELU, drop_rate=0.5)
    variables = random_variables(lambda: block.init({"params": jax.random.key(0)}, x, train=False))
    variables["params"]["bn2"]["bias"] += 3  # the branch, as all inputs are equal: 0 · scale + 3

    @jax.jit
    def run(variables, rng):
        return block.apply(variables, x, train=True, mutable=["batch_stats"], rngs={"drop": rng})[0]

    y = run(variables, jax.random.key(1))
    np.testing.assert_allclose(sorted(set(np.ravel(y).tolist())), [1, 1 + 2 * 3], rtol=1e-5)
    assert 1 < np.sum(y[:, 0, 0, 0] == 1) < 15


def test_a_rate_of_zero_never_asks_for_randomness():
    x = jnp.ones((2, 1, 1, 2))

    def shape_at(drop_rate):
        block = SpineBlock("residual", 2, RELU, drop_rate=drop_rate)
        variables = random_variables(lambda: block.init(jax.random.key(0), x, train=False))
        return jax.eval_shape(lambda v: block.apply(v, x, train=True, mutable=["batch_stats"]), variables)

    shape_at(0.0)
    with pytest.raises(flax.errors.InvalidRngError, match="drop"):
        shape_at(0.1)


def test_drop_rates_grow_with_the_node_to_the_sizes_own(monkeypatch):
    found = {}

    class Recorder(SpineBlock):
        def __call__(self, x, *, train):
            found[self.name] = self.drop_rate
            return super().__call__(x, train=train)

    monkeypatch.setattr(spinenet, "SpineBlock", Recorder)
    shapes_of("143", 32, 32)
    expected = {f"node{i}_block{r}": 0.16 * (i - 1) / 15 for i in range(2, 17) for r in range(3)}
    stem = {f"stem_group{g}_block{r}": 0.0 for g in range(2) for r in range(3)}
    assert found == pytest.approx(expected | stem)


def test_unknown_size_is_refused_with_what_exists():
    with pytest.raises(InputError, match=r"'50' does not exist; use one of 49s, 49, 96, 143, 190"):
        shapes_of("50", 32, 32)


def test_rate_that_drops_everything_is_refused():
    with pytest.raises(InputError, match=r"drop-connect rate is 1.0; it must be in \[0, 1\)"):
        jax.eval_shape(
            lambda x: SpineNet("49s", drop_connect_rate=1.0).init(jax.random.key(0), x, train=True),
            jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32),
        )
