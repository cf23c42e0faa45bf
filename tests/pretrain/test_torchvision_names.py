"""Names against the state dicts of torchvision 0.28, whose digests `make_torch_golden.py` wrote down."""

import json
import pathlib

import pytest

from selftrain_jax.models.classifier import make_classifier
from selftrain_jax.pretrain.import_variables import file_shapes
from selftrain_jax.pretrain.official_networks import variable_shapes
from selftrain_jax.pretrain.torch_names import torchvision_resnet_names
from tests.pretrain.torch_golden import names_digest

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden/torch_networks.json").read_text())[
    "networks"
]


@pytest.mark.parametrize("depth", [18, 50, 101])
def test_names_and_shapes_are_torchvisions(depth):
    row = GOLDEN[f"torchvision/resnet{depth}"]
    shapes = variable_shapes(make_classifier(f"resnet{depth}"), 32)
    found = file_shapes(shapes, torchvision_resnet_names(depth))
    assert len(found) == row["num_arrays"]
    assert names_digest(found) == row["sha256_of_names"]


def test_timms_resnets_bear_the_same_names():
    for depth in (50, 101):
        assert (
            GOLDEN[f"timm/resnet{depth}"]["sha256_of_names"]
            == (GOLDEN[f"torchvision/resnet{depth}"]["sha256_of_names"])
        )
