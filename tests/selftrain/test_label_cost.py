"""What labelling costs, as the manifest says."""

import json
import pathlib

import jax
import pytest

from selftrain_jax.run_files.cost import Cost
from tests.tasks.detection.pseudo.pseudo_toy import Teacher, label

pytestmark = pytest.mark.tf


def cost_of(manifest):
    return Cost.from_json(manifest["cost"], pathlib.Path("manifest.json"))


def test_labels_cost_the_seconds_of_all_devices(tmp_path):
    manifest = label(tmp_path, num_images=10, bad={3}, max_bad_images=1)
    found = cost_of(manifest)
    assert jax.device_count() == 2  # see conftest.py
    assert found.device_seconds == {"cpu": pytest.approx(2 * manifest["seconds"], rel=0.05, abs=0.01)}
    assert found.images == 9
    assert found.waiting_device_seconds is found.energy_joules is None
    assert found.evaluating_device_seconds == 0
    assert json.loads((tmp_path / "manifest.json").read_text())["cost"] == manifest["cost"]


def test_a_session_that_goes_on_counts_what_it_labels(tmp_path):
    with pytest.raises(RuntimeError, match="killed"):
        label(tmp_path, teacher=Teacher(fail_at_call=4))
    assert cost_of(label(tmp_path)).images == 10 - 4  # a shard was whole


def test_other_thresholds_keep_the_cost(tmp_path):
    manifest = label(tmp_path, threshold=0.2)
    path = tmp_path / "manifest.json"
    assert label(tmp_path, threshold=0.2)["cost"] == manifest["cost"]
    path.write_text(json.dumps({key: value for key, value in manifest.items() if key != "cost"}))
    assert "cost" not in label(tmp_path, threshold=0.2)  # as an older version wrote it
