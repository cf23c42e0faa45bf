"""A whole run by tiles, by the command: labels and numbers are of whole images."""

import json

import pytest

from tests.tiny_run import run

pytestmark = pytest.mark.compiles

TILES = ("--config.image.tile_px=40", "--config.image.max_boxes=64")


def test_teacher_labels_and_student_by_tiles_are_measured_on_whole_images(tmp_path):
    workdir = tmp_path / "run"
    status, log = run(workdir, *TILES)
    assert status == 0, log
    manifest = json.loads((workdir / "pseudo_labels/manifest.json").read_text())
    assert manifest["num_images"] == 12
    assert (manifest["tile_px"], manifest["tile_overlap_px"]) == (40, 10)
    ids = json.loads((workdir / "pseudo_labels/image_ids.json").read_text())
    assert not any("#" in image_id for image_id in ids)
    evaluation = json.loads((workdir / "student/evaluation.json").read_text())
    assert evaluation["num_images"] == 6
    assert {"ap", "ap50", "ap75", "ap_small", "ar_100", "ar_large"} <= evaluation.keys()
    detections = json.loads((workdir / "student/detections.json").read_text())
    assert max(row["bbox"][0] + row["bbox"][2] for row in detections) > 41  # beyond a tile
    status, log = run(workdir, *TILES)
    assert status == 0
    assert "student: finished before" in log
    status, log = run(workdir, *TILES, "--config.image.tile_overlap_frac=0.5")
    assert status != 0
    assert "config.image.tile_overlap_frac: 0.25 then, 0.5 now" in log
