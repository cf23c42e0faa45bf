"""timm's files of vision transformers, imported and put into a detector."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from configs import common
from selftrain_jax.errors import InputError
from selftrain_jax.jobs import run_job
from selftrain_jax.models.classifier import make_classifier
from selftrain_jax.models.retinanet import make_retinanet
from selftrain_jax.models.settings import VITS
from selftrain_jax.named_arrays import arrays_by_name
from selftrain_jax.pretrain.catalogue import WEIGHTS, describe_licence
from selftrain_jax.pretrain.import_variables import file_shapes
from selftrain_jax.pretrain.importers import import_timm
from selftrain_jax.pretrain.init_modes import explain_missing, init_variables
from selftrain_jax.pretrain.official_networks import variable_shapes
from selftrain_jax.pretrain.vit_names import timm_vit_names
from selftrain_jax.train.checkpoint import restore_whole
from tests.models.random_variables import random_variables
from tests.pretrain.torch_golden import vit_golden_array
from tests.pretrain.weight_files import write_safetensors


@pytest.fixture(params=["vit_small_dinov2", "vit_small_dinov2_reg4", "vit_small_dinov3"])
def network(request, monkeypatch):
    """A published network with two blocks of narrow tokens."""
    small = dataclasses.replace(VITS[request.param], depth=2, width=48, grid=4)
    monkeypatch.setitem(VITS, request.param, small)
    return request.param


@pytest.fixture
def arrays(network):
    shapes = file_shapes(variable_shapes(make_classifier(network), 64), timm_vit_names(network))
    return {name: vit_golden_array(name, shape) for name, shape in shapes.items()}


def test_file_holds_the_backbone_and_what_only_training_needs(tmp_path, network, arrays):
    extra = {"mask_token": np.zeros((1, 48), np.float32), "rope.periods": np.ones(2, np.float32)}
    path = write_safetensors(tmp_path / "w.safetensors", {**arrays, **extra})
    found = import_timm(path, network)
    assert list(found.variables) == ["params"]
    assert list(found.variables["params"]) == ["backbone"]
    assert (len(found.report.imported), set(found.report.ignored)) == (len(arrays), set(extra))
    assert found.preprocessing[:2] == ("imagenet", False)
    kernel = found.variables["params"]["backbone"]["block1"]["attention"]["qkv"]["kernel"]
    np.testing.assert_array_equal(kernel, arrays["blocks.1.attn.qkv.weight"].T)


def test_detector_takes_the_backbone_and_begins_its_pyramid_at_random(tmp_path, network, arrays):
    path = write_safetensors(tmp_path / "w.safetensors", arrays)
    loaded = import_timm(path, network).variables
    detector = make_retinanet(backbone=network, num_classes=3, head_convs=1, head_channels=8, fpn_channels=8)
    template = variable_shapes(detector, 128)
    random = random_variables(lambda: template)
    found, report = init_variables("imagenet", template, random, lambda _: loaded)
    assert report.loaded == {"backbone": len(arrays)}
    assert set(report.random) == {"fpn", "class_net", "box_net"}
    found, loaded, random = (arrays_by_name(jax.device_get(tree)) for tree in (found, loaded, random))
    for name, array in found.items():
        source = loaded if name.startswith("params/backbone/") else random
        np.testing.assert_array_equal(array, source[name], err_msg=name)
    assert any("pyramid" in name for name in found)


def test_another_input_rule_is_refused(tmp_path, network, arrays):
    path = write_safetensors(tmp_path / "w.safetensors", arrays)
    with pytest.raises(InputError, match=f"input_rule='half': {network} was trained on imagenet's input"):
        import_timm(path, network, input_rule="half")


def test_file_of_another_network_is_refused(tmp_path, network, arrays):
    del arrays["blocks.1.mlp.fc1.bias"]
    path = write_safetensors(tmp_path / "w.safetensors", arrays)
    with pytest.raises(InputError, match=r"1 missing: params/backbone/block1/expand/bias"):
        import_timm(path, network)


def test_what_is_taken_by_name_alone_is_said_with_its_licence_and_the_command():
    error = str(explain_missing("imagenet", "vit_base_dinov3", "pretrained"))
    assert "DINOv3 License" in error
    assert "--workdir=pretrained/vit_base_dinov3-imagenet" in error
    assert "--config.import_weights.name=vit_base_patch16_dinov3.lvd1689m" in error


def test_weights_by_name_come_from_the_hub_and_say_their_licence_first(
    server, tmp_path, capsys, network, arrays
):
    weights = next(row for row in WEIGHTS if row.network == network)
    path = write_safetensors(tmp_path / "w.safetensors", arrays)
    server.publish(weights.repo, path.read_bytes())
    config = common.get_config()
    config.pretrained.dir = str(tmp_path / "pre")
    config.import_weights.name = weights.name
    run_job("import_weights", config, tmp_path / "pre" / "imported")
    said = capsys.readouterr().out
    assert said.index(describe_licence(weights)) < said.index("arrays of")
    card = json.loads((tmp_path / "pre/imported/card.json").read_text())
    assert (card["name"], card["licence"], card["network"]) == (weights.name, weights.licence, network)
    found = arrays_by_name(restore_whole(tmp_path / "pre" / "imported", "last"))
    expected = arrays_by_name(import_timm(path, network).variables)
    assert found.keys() == expected.keys()
    assert all((found[name] == expected[name]).all() for name in found)
