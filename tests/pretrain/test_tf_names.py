"""The names made by rule are those of the official graphs, and lead to variables of the same shape.

`digests.json` holds the first half of sha256 over the sorted names (and shapes) of every official
network; the lists themselves are in the reference, from which failures print the first differences.
"""

import hashlib
import json
import pathlib

import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.pretrain.import_variables import Slot, file_shapes
from selftrain_jax.pretrain.official_networks import NETWORKS as COMPARABLE
from selftrain_jax.pretrain.official_networks import make_network, variable_shapes
from selftrain_jax.pretrain.tf_names import NETWORKS, resnet_tf_names, tf_names, unused_tf_names

TESTS = pathlib.Path(__file__).parents[1]
DIGESTS = json.loads((TESTS / "golden/tf_variables/digests.json").read_text())
LISTS = TESTS.parents[1] / "shared/reference/tf_variables"
SMALL = ["efficientnet-b0", "efficientnet-b1", "efficientnet-b4", "retinanet_r50fpn"]
SMALL += ["retinanet_r101fpn", "retinanet_b7fpn", "retinanet_spinenet49S", "retinanet_spinenet96"]
SMALL += ["retinanet_spinenet190", "seg_b7_nasfpn"]


def digest(lines):
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:32]


def official_shapes(network):
    if not (LISTS / f"{network}.txt").exists():
        pytest.skip(f"the reference's list of {network} is not on this machine")
    rows = [line.split("\t") for line in (LISTS / f"{network}.txt").read_text().splitlines()]
    return {name.removesuffix(":0"): tuple(json.loads(shape)) for name, shape, _ in rows}


@pytest.mark.parametrize("network", DIGESTS)
def test_names_are_the_official_ones(network):
    names = [*tf_names(network), *unused_tf_names(network)]
    assert len(set(names)) == DIGESTS[network]["count"]
    assert digest(names) == DIGESTS[network]["names"]


@pytest.mark.parametrize("network", DIGESTS)
def test_names_are_those_of_the_list(network):
    assert set(tf_names(network)) | set(unused_tf_names(network)) == set(official_shapes(network))


@pytest.mark.compiles
@pytest.mark.parametrize(
    "network",
    [
        pytest.param(name, marks=() if name in SMALL else pytest.mark.slow)
        for name in DIGESTS
        if name in COMPARABLE
    ],
)
def test_names_fill_the_network_with_the_official_shapes(network):
    variables = variable_shapes(make_network(network), 128)
    names = tf_names(network)
    shapes = file_shapes(variables, names)
    assert len(shapes) == sum(1 for _ in leaves(variables))
    lines = [f"{name}\t{json.dumps(shape, separators=(',', ':'))}" for name, shape in shapes.items()]
    if digest(lines) != DIGESTS[network]["names_and_shapes"]:
        official = official_shapes(network)
        wrong = {name: (shape, official[name]) for name, shape in shapes.items() if official[name] != shape}
        pytest.fail(f"{len(wrong)} shapes differ (ours, official): {list(wrong.items())[:5]}")


def leaves(tree):
    for value in tree.values():
        yield from leaves(value) if isinstance(value, dict) else [value]


def test_each_slot_is_filled_once():
    for network in NETWORKS:
        slots = tf_names(network).values()
        assert len(slots) == len(set(slots)), network


def test_a_resnets_projection_comes_before_its_branch():
    names = resnet_tf_names(50, "")
    assert names["conv2d/kernel"] == Slot("params", ("backbone", "stem", "kernel"))
    assert names["conv2d_1/kernel"].path == ("backbone", "c2_block0", "shortcut", "kernel")
    assert names["batch_normalization_2/gamma"].path == ("backbone", "c2_block0", "bn1", "scale")
    assert names["conv2d_52/kernel"].path == ("backbone", "c5_block2", "conv3", "kernel")


@pytest.mark.parametrize(("network", "first"), [("retinanet_spinenet49S", 8), ("retinanet_spinenet190", 26)])
def test_spinenets_endpoints_are_numbered_after_its_stem(network, first):
    names = tf_names(network)
    assert names[f"spinenet/conv2d_{first}/kernel"].path == ("backbone", "endpoint3", "kernel")
    bn = names[f"spinenet/batch_normalization_{first + 4}/moving_variance"]
    assert bn == Slot("batch_stats", ("backbone", "endpoint7_bn", "var"))


def test_efficientnets_first_block_has_no_expansion_to_number():
    names = tf_names("efficientnet-b0")
    first, second = "efficientnet-b0/blocks_0/", "efficientnet-b0/blocks_1/"
    assert names[first + "conv2d/kernel"].path == ("backbone", "block0", "project", "kernel")
    assert names[second + "conv2d/kernel"].path == ("backbone", "block1", "expand", "kernel")
    assert names[first + "tpu_batch_normalization/beta"].path[-2:] == ("depthwise_bn", "bias")
    kernel = names[second + "depthwise_conv2d/depthwise_kernel"]
    assert kernel == Slot("params", ("backbone", "block1", "depthwise", "kernel"), "depthwise")


def test_an_unknown_network_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"'efficientnet-b9' does not exist; use one of efficientnet-b0"):
        tf_names("efficientnet-b9")
