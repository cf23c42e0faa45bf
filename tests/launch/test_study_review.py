"""The study of review: the truth as a tool's file, the table, and the commands of a seed."""

import json
import pathlib
import subprocess

import numpy as np
import pytest

from launch.study_review import __main__ as study
from launch.study_review import seed
from selftrain_jax.demo.builtin import read_builtin
from selftrain_jax.run_files.review import read_review
from selftrain_jax.tasks.detection.review.read_back import read_corrections

SCORES = {
    number: {
        way: {"teacher": 0.2, "control": 0.25, "student": 0.25 + gain + number / 100}
        for way, gain in (("none", 0.0), ("least_sure", 0.02), ("random", 0.01))
    }
    for number in (0, 1)
}


def test_the_table_has_gains_over_the_control_and_their_means() -> None:
    assert study.format_table(SCORES).splitlines()[2:] == [
        "| 0 | 20.0 | 25.0 | 25.0 (+0.0) | 27.0 (+2.0) | 26.0 (+1.0) |",
        "| 1 | 20.0 | 25.0 | 26.0 (+1.0) | 28.0 (+3.0) | 27.0 (+2.0) |",
        "| mean over control | | | +0.5 | +2.5 | +1.5 |",
    ]


def test_the_truth_comes_back_as_a_persons_corrections(tmp_path: pathlib.Path) -> None:
    truth = read_builtin("unlabeled", num_images=3, image_size_px=64)
    images = [
        {"image_id": image_id, "name": f"{image_id}.png", "path": "/x", "size_px": [64, 64], "boxes": []}
        for image_id in truth.image_ids[:2]
    ]
    review = {
        **{"label_set": "s", "layer": "", "teacher": {}, "format": "coco", "choose": "random"},
        **{"threshold": 0.5, "per_class_thresholds": {}, "created": "now", "images": images},
        "categories": [category._asdict() for category in truth.categories],
    }
    (tmp_path / "review.json").write_text(json.dumps(review))
    seed.write_truth(truth, tmp_path)
    sent = read_review(tmp_path / "review.json")
    found = read_corrections(
        tmp_path / seed.TRUTH, sent, "r", removed="background", confirmed=True, by="truth"
    )
    for index, image in enumerate(found.reviewed):
        expected = truth.read_labels(index)
        np.testing.assert_allclose([box.box for box in image.boxes], expected["boxes"], atol=1e-4)
        assert [box.class_id for box in image.boxes] == expected["classes"].tolist()


def test_a_seed_shares_its_base_and_corrects_each_choice_once(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = []

    def run(line, **_):
        lines.append(line)
        folder = pathlib.Path(next(part for part in line if part.startswith("--workdir=")).partition("=")[2])
        (folder / "pseudo_labels").mkdir(parents=True, exist_ok=True)
        if "--job=export_labels" in line:
            sent = next(part for part in line if "review.output" in part).partition("=")[2]
            pathlib.Path(sent).mkdir()
        if "--job=import_corrections" in line:
            (folder / "pseudo_labels" / "corrections").mkdir()

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(seed, "write_truth", lambda *_: None)
    options = ["--seed=4", "--count=7", "--config=configs/quickstart.py", f"--runs={tmp_path}", "--", "--x=1"]
    seed.run_seed(seed.parse(options))
    jobs = [next((part for part in line if part.startswith(("--job", "--variant"))), "") for line in lines]
    each = ["--job=export_labels", "--job=import_corrections", "--variant=reviewed"]
    assert jobs == ["", *each, *each]
    assert all("--config=configs/quickstart.py:seed=4" in line and "--x=1" in line for line in lines)
    assert "--config.review.count=7" in lines[1]
    lines.clear()
    seed.run_seed(seed.parse(options))  # again: what is finished is skipped by the runs themselves
    assert len(lines) == 3


def test_the_truth_is_of_the_runs_own_images() -> None:
    truth = seed.open_truth("configs/quickstart.py", 3, ["--config.data.builtin.unlabeled=5"])
    expected = read_builtin("unlabeled", num_images=5, seed=3, image_size_px=128)
    assert truth.image_ids == expected.image_ids
    np.testing.assert_array_equal(truth.read_labels(2)["boxes"], expected.read_labels(2)["boxes"])
