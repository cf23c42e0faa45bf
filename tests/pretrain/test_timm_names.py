"""Names against the state dicts of timm 1.0.31, whose digests `make_torch_golden.py` wrote down."""

import json
import pathlib

import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.models.classifier import make_classifier
from selftrain_jax.pretrain.import_variables import file_shapes
from selftrain_jax.pretrain.official_networks import variable_shapes
from selftrain_jax.pretrain.torch_names import timm_efficientnet_names
from tests.pretrain.torch_golden import names_digest

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden/torch_networks.json").read_text())[
    "networks"
]


@pytest.mark.parametrize("variant", ["b0", "b3", "lite2"])
def test_names_and_shapes_are_timms(variant):
    row = GOLDEN[f"timm/tf_efficientnet_{variant}"]
    shapes = variable_shapes(make_classifier(f"efficientnet_{variant}"), 64)
    found = file_shapes(shapes, timm_efficientnet_names(variant))
    assert len(found) == row["num_arrays"]
    assert names_digest(found) == row["sha256_of_names"]


@pytest.mark.parametrize("network", [n for n in GOLDEN if "efficientnet" in n])
def test_every_variant_has_as_many_names_as_timms(network):
    names = timm_efficientnet_names(network.removeprefix("timm/tf_efficientnet_"))
    assert len(names) == GOLDEN[network]["num_arrays"]


def test_the_first_stage_has_no_expansion_and_calls_its_projection_conv_pw():
    names = timm_efficientnet_names("b0")
    assert names["blocks.0.0.conv_pw.weight"].path == ("backbone", "block0", "project", "kernel")
    assert names["blocks.1.0.conv_pw.weight"].path == ("backbone", "block1", "expand", "kernel")
    assert names["blocks.6.0.bn3.weight"].path == ("backbone", "block15", "project_bn", "scale")


def test_unknown_variants_are_refused():
    with pytest.raises(InputError, match="b9"):
        timm_efficientnet_names("b9")
