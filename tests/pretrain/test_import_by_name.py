"""`--job=import_weights --config.import_weights.name=NAME` from a server on this machine."""

import io
import json
import pathlib
import tarfile

import jax
import pytest

from configs import common
from selftrain_jax.errors import InputError
from selftrain_jax.jobs import run_job
from selftrain_jax.models.classifier import make_classifier
from selftrain_jax.named_arrays import arrays_by_name
from selftrain_jax.pretrain import catalogue
from selftrain_jax.pretrain.import_variables import file_shapes
from selftrain_jax.pretrain.importers import import_efficientnet_tf, import_timm
from selftrain_jax.pretrain.official_networks import variable_shapes
from selftrain_jax.pretrain.tf_names import tf_names
from selftrain_jax.pretrain.torch_names import timm_efficientnet_names, torchvision_resnet_names
from selftrain_jax.train.checkpoint import restore_whole
from tests.pretrain.loopback import Loopback, commit_of
from tests.pretrain.torch_golden import torch_golden_array
from tests.pretrain.weight_files import write_safetensors, write_tf_checkpoint

pytestmark = pytest.mark.compiles

LITE0 = "tf_efficientnet_lite0.in1k"


def weight_file(path, network, names):
    shapes = file_shapes(variable_shapes(make_classifier(network), 32), names)
    return write_safetensors(path, {name: torch_golden_array(name, shape) for name, shape in shapes.items()})


@pytest.fixture(scope="module")
def lite0(tmp_path_factory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("lite0") / "model.safetensors"
    return weight_file(path, "efficientnet_lite0", timm_efficientnet_names("lite0"))


def settings(tmp_path: pathlib.Path, name: str, **changes: object):
    config = common.get_config()
    config.pretrained.dir = str(tmp_path / "pre")
    config.import_weights.update({"name": name} | changes)
    return config


def import_by_name(tmp_path: pathlib.Path, name: str, **changes: object) -> pathlib.Path:
    folder = tmp_path / "pre" / "imported"
    run_job("import_weights", settings(tmp_path, name, **changes), folder)
    return folder


def assert_holds(folder: pathlib.Path, variables) -> None:
    found, wanted = arrays_by_name(restore_whole(folder, "last")), arrays_by_name(variables)
    assert found.keys() == wanted.keys()
    assert all(jax.tree.leaves({name: (found[name] == wanted[name]).all() for name in found}))


def test_timms_lite0_comes_from_the_hub_and_its_card_tells_all(server: Loopback, tmp_path, lite0) -> None:
    server.publish(f"timm/{LITE0}", lite0.read_bytes())
    folder = import_by_name(tmp_path, LITE0)
    assert_holds(folder, import_timm(lite0, "efficientnet_lite0").variables)
    card = json.loads((folder / "card.json").read_text())
    assert card["source"] == f"{server.address}/timm/{LITE0}/resolve/main/model.safetensors"
    assert (card["name"], card["licence"], card["network"]) == (LITE0, "Apache-2.0", "efficientnet_lite0")
    assert card["revision"] == commit_of(lite0.read_bytes())
    assert card["published_accuracy"] == "74.8 % top-1 in timm"
    assert card["preprocessing"]["input_rule_of_source"] == "half"
    assert sorted(path.name for path in (tmp_path / "pre").iterdir()) == ["checksums.json", "imported"]


def test_by_hand_it_needs_no_network(server: Loopback, tmp_path, lite0) -> None:
    folder = import_by_name(tmp_path, LITE0, source=str(lite0))
    assert_holds(folder, import_timm(lite0, "efficientnet_lite0").variables)
    assert json.loads((folder / "card.json").read_text())["source"] == str(lite0)
    assert not server.requests


@pytest.mark.tf
def test_an_authors_archive_comes_by_its_address(server: Loopback, tmp_path, monkeypatch) -> None:
    shapes = file_shapes(variable_shapes(make_classifier("efficientnet_b0"), 32), tf_names("efficientnet-b0"))
    arrays = {name: torch_golden_array(name, shape) for name, shape in shapes.items()}
    prefix = write_tf_checkpoint(tmp_path / "model.ckpt", arrays)
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz", compresslevel=1) as archive:
        for path in tmp_path.glob("model.ckpt*"):
            archive.add(path, f"efficientnet-b0/{path.name}")
    server.files["/efficientnet-b0.tar.gz"] = data.getvalue()
    row = catalogue.find_weights("efficientnet-b0-autoaugment")
    here = row._replace(urls=(f"{server.address}/efficientnet-b0.tar.gz",))
    monkeypatch.setattr(catalogue, "WEIGHTS", (here,))
    folder = import_by_name(tmp_path, row.name)
    assert_holds(folder, import_efficientnet_tf(prefix, "b0", ema=False).variables)
    card = json.loads((folder / "card.json").read_text())
    assert card["sha256"].keys() == {"efficientnet-b0.tar.gz"}
    assert sorted(path.name for path in (tmp_path / "pre").iterdir()) == ["checksums.json", "imported"]


def test_a_file_of_another_network_is_refused_and_leaves_nothing(server: Loopback, tmp_path) -> None:
    other = weight_file(tmp_path / "other.safetensors", "resnet18", torchvision_resnet_names(18))
    server.publish(f"timm/{LITE0}", other.read_bytes())
    with pytest.raises(InputError, match=r"(?s)does not fit the network.*unexpected: conv1"):
        import_by_name(tmp_path, LITE0)
    assert not [path for path in (tmp_path / "pre").rglob("*") if path.is_file()]


def test_no_commercial_use_is_said_before_the_download(server: Loopback, tmp_path, capsys) -> None:
    with pytest.raises(InputError, match="cannot be had"):
        import_by_name(tmp_path, "resnet50.fb_swsl_ig1b_ft_in1k")
    assert "licence CC-BY-NC-4.0 (no commercial use)" in capsys.readouterr().out


def test_a_name_that_is_not_in_the_catalogue_asks_nobody(server: Loopback, tmp_path) -> None:
    with pytest.raises(InputError, match=r"did you mean tf_efficientnet_lite0\.in1k"):
        import_by_name(tmp_path, "efficientnet_lite0")
    assert not server.requests
    assert not (tmp_path / "pre").exists()
