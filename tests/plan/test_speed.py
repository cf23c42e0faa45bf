"""Speeds that stages measured: the median of the latest lines, of the same network, of whole manifests."""

import json
import pathlib
from typing import Any

from selftrain_jax.plan.speed import find_speed

NETWORK = {"task": "detection", "image.size_px": 64, "model.backbone": "resnet18", "seed": 0}


def write_stage(folder: pathlib.Path, settings: dict[str, Any], speeds: list[float | None]) -> pathlib.Path:
    folder.mkdir(parents=True)
    (folder / "stage.json").write_text(json.dumps({"stage": folder.name, "settings": settings}))
    rows = [{"step": step, "speed/images_per_second": speed} for step, speed in enumerate(speeds, 1)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_median_of_the_latest_lines_counts(tmp_path: pathlib.Path) -> None:
    folder = write_stage(tmp_path / "teacher", NETWORK, [1.0] * 30 + [10.0, None, 12.0] * 10)
    found = find_speed([tmp_path / "none", folder], NETWORK, of_labels=False)
    assert found is not None
    assert (found.images_per_sec, found.source) == (11.0, str(folder))


def test_another_network_is_passed_over_and_another_seed_is_not(tmp_path: pathlib.Path) -> None:
    other = write_stage(tmp_path / "a", {**NETWORK, "image.size_px": 128}, [5.0])
    same = write_stage(tmp_path / "b", {**NETWORK, "seed": 7}, [6.0])
    found = find_speed([other, same], NETWORK, of_labels=False)
    assert found is not None
    assert found.images_per_sec == 6.0
    assert find_speed([other], NETWORK, of_labels=False) is None


def test_labels_have_the_speed_of_their_manifest(tmp_path: pathlib.Path) -> None:
    folder = write_stage(tmp_path / "pseudo_labels", NETWORK, [])
    assert find_speed([folder], NETWORK, of_labels=True) is None
    (folder / "manifest.json").write_text(json.dumps({"num_images": 12, "seconds": 4.0}))
    found = find_speed([folder], NETWORK, of_labels=True)
    assert found is not None
    assert found.images_per_sec == 3.0
