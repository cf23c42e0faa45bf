"""Our networks compute what the official TensorFlow code computed from weights of the same names."""

import json
import pathlib

import jax
import numpy as np
import pytest

from selftrain_jax.models.efficientnet import EfficientNet
from selftrain_jax.models.layers import LayerStyle
from selftrain_jax.models.nas_fpn import NASFPN
from selftrain_jax.pretrain import parity
from selftrain_jax.pretrain.golden import GoldenArrays, golden_image
from selftrain_jax.pretrain.golden_file import difference, read_golden
from selftrain_jax.pretrain.import_variables import file_shapes, import_variables
from selftrain_jax.pretrain.parity import TOLERANCE, main
from selftrain_jax.pretrain.tf_names_detector import nas_fpn_tf_names
from selftrain_jax.pretrain.tf_names_efficientnet import efficientnet_tf_names

GOLDEN = pathlib.Path(__file__).parents[1] / "golden/networks"


@pytest.mark.parametrize(
    ("network", "golden"),
    [
        ("efficientnet-b0", "efficientnet-b0_224.json"),
        ("retinanet_r50fpn", "retinanet_r50fpn_256_gain0.5.json"),
        pytest.param("retinanet_effb0fpn", "retinanet_effb0fpn_256.json", marks=pytest.mark.slow),
        ("retinanet_spinenet49S", "retinanet_spinenet49S_256.json"),
    ],
)
def test_network_equals_the_official_one(network, golden, capsys):
    assert main([f"--network={network}", f"--golden={GOLDEN / golden}"]) == 0
    printed = capsys.readouterr().out
    assert all(f"\n{name} " in printed for name in json.loads((GOLDEN / golden).read_text()))
    assert "too large" not in printed


def test_separable_nas_fpn_equals_the_official_one():
    golden = read_golden(GOLDEN / "seg_effb0_nasfpn_256_gain0.5.json")
    backbone, neck = EfficientNet("b0"), NASFPN(256, 7, separable=True, style=LayerStyle(bn_epsilon=1e-3))
    image = golden_image(256)

    def init(images):
        variables = backbone.init(jax.random.key(0), images, train=False)
        features = backbone.apply(variables, images, train=False)
        return variables, neck.init(jax.random.key(0), features, train=False)

    def run(variables, images):
        features = backbone.apply(variables[0], images, train=False)
        return neck.apply(variables[1], features, train=False)

    names = efficientnet_tf_names("b0", "efficientnet-b0", path=()), nas_fpn_tf_names(7, path=())
    pairs = zip(jax.eval_shape(init, image), names, strict=True)
    variables = [import_variables(x, GoldenArrays(file_shapes(x, n), 0.5), n)[0] for x, n in pairs]
    for level, found in jax.jit(run)(variables, image).items():
        assert not difference(jax.device_get(found), golden[f"feat{level}"]).exceeds(TOLERANCE)


@pytest.fixture
def logits_file(tmp_path):
    """Return a golden file of a classifier of 4 classes: 3, -3, 0, 0."""
    path = tmp_path / "any_name_64.json"
    entry = {"shape": [1, 4], "mean": 0, "std": 4.5**0.5, "absmax": 3, "idx": [0], "vals": [3]}
    path.write_text(json.dumps({"logits": entry}))
    return path


@pytest.mark.parametrize(("first", "code"), [(3, 0), (3 + 5e-5, 0), (3 + 5e-4, 1), (np.nan, 1)])
def test_exit_code_tells_whether_errors_are_within_the_tolerance(logits_file, monkeypatch, first, code):
    logits = np.array([[first, -3, 0, 0]])
    monkeypatch.setattr(parity, "compute_outputs", lambda *_: {"logits": logits})
    assert main(["--network=efficientnet-b0", f"--golden={logits_file}"]) == code


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("efficientnet-b9", "use one of efficientnet-b0"),
        ("efficientnet-b0", "the shape [1, 4]; the network's is [1, 1000]"),
    ],
)
def test_a_users_mistake_exits_2_with_a_line(logits_file, capsys, network, message):
    assert main([f"--network={network}", f"--golden={logits_file}"]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert "Traceback" not in printed.err
    assert not printed.out


def test_a_missing_file_exits_2(tmp_path, capsys):
    assert main(["--network=efficientnet-b0", f"--golden={tmp_path / 'b0_224.json'}"]) == 2
    assert "cannot be read" in capsys.readouterr().err
