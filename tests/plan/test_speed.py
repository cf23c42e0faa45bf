"""Speeds that stages measured: the median of the latest lines, of the same network, of whole manifests."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.plan.speed import find_labelling_speed, find_training_speed

NETWORK = {"task": "detection", "image.size_px": 64, "model.backbone": "resnet18", "seed": 0}


def write_stage(folder: pathlib.Path, settings: dict[str, Any], speeds: list[float | None]) -> pathlib.Path:
    folder.mkdir(parents=True)
    (folder / "stage.json").write_text(json.dumps({"stage": folder.name, "settings": settings}))
    rows = [{"step": step, "speed/images_per_second": speed} for step, speed in enumerate(speeds, 1)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_median_of_the_latest_lines_counts(tmp_path: pathlib.Path) -> None:
    folder = write_stage(tmp_path / "teacher", NETWORK, [1.0] * 30 + [10.0, None, 12.0] * 10)
    found = find_training_speed([tmp_path / "none", folder], NETWORK)
    assert found is not None
    assert (found.images_per_sec, found.source) == (11.0, str(folder))


def test_another_network_is_passed_over_and_another_seed_is_not(tmp_path: pathlib.Path) -> None:
    other = write_stage(tmp_path / "a", {**NETWORK, "image.size_px": 128}, [5.0])
    same = write_stage(tmp_path / "b", {**NETWORK, "seed": 7}, [6.0])
    found = find_training_speed([other, same], NETWORK)
    assert found is not None
    assert found.images_per_sec == 6.0
    assert find_training_speed([other], NETWORK) is None


def test_labels_have_the_speed_of_their_manifest(tmp_path: pathlib.Path) -> None:
    folder = write_stage(tmp_path / "pseudo_labels", NETWORK, [])
    assert find_labelling_speed([folder], NETWORK, count_views) is None
    (folder / "manifest.json").write_text(json.dumps({"num_images": 12, "seconds": 4.0}))
    found = find_labelling_speed([folder], NETWORK, count_views)
    assert found is not None
    assert (found.images_per_sec, found.source) == (3.0, str(folder))


def count_views(settings: Mapping[str, Any]) -> int:
    views = settings.get("views", "1")
    if not views:
        raise InputError("no view")
    return len(views.split(","))


def test_the_time_of_labels_is_in_proportion_to_what_is_seen_of_an_image(tmp_path: pathlib.Path) -> None:
    damaged = write_stage(tmp_path / "damaged", {**NETWORK, "views": ""}, [])
    folder = write_stage(tmp_path / "pseudo_labels", {**NETWORK, "views": "1,1f"}, [])
    for each in (damaged, folder):
        (each / "manifest.json").write_text(json.dumps({"num_images": 12, "seconds": 4.0}))
    for views, speed in (("1", 6.0), ("1,1f", 3.0), ("1,1f,2,2f,3,3f", 1.0)):
        found = find_labelling_speed([damaged, folder], {**NETWORK, "views": views}, count_views)
        assert found is not None
        assert found.images_per_sec == pytest.approx(speed)
        assert ("in proportion" in found.source) == (views != "1,1f")


def test_the_time_of_labels_is_in_proportion_to_the_models_that_label(tmp_path: pathlib.Path) -> None:
    folder = write_stage(tmp_path / "pseudo_labels", NETWORK, [])
    (folder / "manifest.json").write_text(json.dumps({"num_images": 12, "seconds": 4.0, "num_models": 2}))
    for num_models, speed in ((1, 6.0), (2, 3.0), (3, 2.0)):
        found = find_labelling_speed([folder], NETWORK, count_views, num_models)
        assert found is not None
        assert found.images_per_sec == pytest.approx(speed)
