"""Our networks compute what the official TensorFlow code computed from weights of the same names."""

import json
import pathlib

import numpy as np
import pytest

from selftrain_jax.pretrain import parity
from selftrain_jax.pretrain.parity import main

pytestmark = pytest.mark.compiles

GOLDEN = pathlib.Path(__file__).parents[1] / "golden/networks"


@pytest.mark.parametrize(
    ("network", "golden"),
    [
        ("efficientnet-b0", "efficientnet-b0_224.json"),
        ("retinanet_r50fpn", "retinanet_r50fpn_256_gain0.5.json"),
        pytest.param("retinanet_effb0fpn", "retinanet_effb0fpn_256.json", marks=pytest.mark.slow),
        ("retinanet_spinenet49S", "retinanet_spinenet49S_256.json"),
        ("seg_effb0_nasfpn", "seg_effb0_nasfpn_256_gain0.5.json"),
    ],
)
def test_network_equals_the_official_one(network, golden, capsys):
    assert main([f"--network={network}", f"--golden={GOLDEN / golden}"]) == 0
    printed = capsys.readouterr().out
    assert all(f"\n{name} " in printed for name in json.loads((GOLDEN / golden).read_text()))
    assert "too large" not in printed


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
