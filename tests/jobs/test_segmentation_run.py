"""Segmentation by the command: teacher, pseudo masks, control, student, and what users do with the result."""

import contextlib
import io
import json
import logging
import pathlib

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from selftrain_jax.data.builtin import read_builtin_masks
from selftrain_jax.errors import InputError
from selftrain_jax.jobs import run_job
from tests import tiny_masks

pytestmark = pytest.mark.tf
STAGES = ("teacher", "control", "student")


class Compiles(logging.Handler):
    """Counts how often each function is compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())

    def of(self, function: str) -> int:
        return sum(f"Finished XLA compilation of jit({function})" in text for text in self.messages)


def run(job: str, config: ConfigDict, workdir: pathlib.Path, stage: str = "teacher") -> tuple[str, Compiles]:
    """Run a job; return what it printed and compiled."""
    printed, compiles, logger = io.StringIO(), Compiles(), logging.getLogger("jax")
    logger.addHandler(compiles)
    try:
        with contextlib.redirect_stdout(printed), jax.log_compiles():
            run_job(job, config, workdir, stage=stage)
    finally:
        logger.removeHandler(compiles)
    return printed.getvalue(), compiles


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, str, Compiles]:
    workdir = tmp_path_factory.mktemp("masks") / "whole"
    return workdir, *run("selftrain", tiny_masks.get_config(), workdir)


@pytest.fixture
def whole(finished: tuple[pathlib.Path, str, Compiles]) -> pathlib.Path:
    return finished[0]


def read(workdir: pathlib.Path, *parts: str) -> dict:
    return json.loads(workdir.joinpath(*parts).read_text())


def test_the_summary_has_each_stages_miou_and_the_gains(whole: pathlib.Path) -> None:
    summary = read(whole, "summary.json")
    for stage in STAGES:
        assert summary[stage]["steps"] == 6
        assert 0 <= summary[stage]["miou"] <= 1
        assert (whole / summary[stage]["checkpoint"]).is_dir()
    assert summary["metric"] == "miou"
    assert summary["gain_over_control"] == summary["student"]["miou"] - summary["control"]["miou"]
    assert summary["pseudo_labels"]["images"] == 12
    assert summary["pseudo_labels"]["pixels"] <= 12 * 64 * 64
    assert 0 < summary["pseudo_labels"]["coverage"] <= 1
    assert 0 <= summary["pseudo_labels"]["precision"] <= 1


def test_miou_is_what_the_written_class_maps_give(whole: pathlib.Path) -> None:
    """Count intersection and union again, from the PNGs and the truth as it is drawn."""
    source = read_builtin_masks("test", num_images=6, seed=0, image_size_px=64)
    evaluation = read(whole, "student", "evaluation.json")
    truth = np.stack([source.read_labels(i)["mask"] for i in range(6)])
    found = np.stack(
        [np.array(Image.open(whole / "student" / "masks" / f"{name}.png")) for name in source.image_ids]
    )
    ious = [
        ((truth == k) & (found == k)).sum() / union
        for k in range(11)
        if (union := ((truth == k) | (found == k)).sum())
    ]
    assert evaluation["miou"] == pytest.approx(np.mean(ious), abs=1e-12)
    assert evaluation["pixel_accuracy"] == pytest.approx((truth == found).mean(), abs=1e-12)
    assert evaluation["miou_resized"] == evaluation["miou"]  # 64 px images in a 64 px input
    assert set(evaluation["per_image"]) == set(source.image_ids)


def test_training_compiles_once_and_inference_once_a_size(
    finished: tuple[pathlib.Path, str, Compiles],
) -> None:
    _, printed, compiles = finished
    assert compiles.of("train_step") == 1
    assert compiles.of("predict") == 2  # 32 and 64 px, the two scales; evaluation is one of them
    # Evaluation's canvas and its frame with one scale, and the labels' canvas with two.
    assert compiles.of("label") == 3
    assert "compiled for network shapes 2, canvases 1" in printed
    assert "student over control" in printed


def test_the_same_command_again_trains_nothing(whole: pathlib.Path) -> None:
    before = read(whole, "student", "evaluation.json")
    printed, compiles = run("selftrain", tiny_masks.get_config(), whole)
    assert printed.count("finished before") == 3
    assert compiles.of("train_step") == 0
    assert read(whole, "student", "evaluation.json") == before


def test_the_report_shows_masks(whole: pathlib.Path) -> None:
    page = (whole / "report.html").read_text()
    assert len(page) > 50_000
    for words in ("mIoU", "Pseudo", "overage", "student"):
        assert words in page


def test_evaluation_over_scales_stands_beside_the_usual_one(whole: pathlib.Path) -> None:
    usual = read(whole, "teacher", "evaluation.json")
    config = tiny_masks.get_config()
    config.evaluate.update(scales=(0.5, 1.0), flip=True)
    run("evaluate", config, whole)
    several = read(whole, "teacher", "evaluation_scales.json")
    assert (several["sizes_px"], several["flip"]) == ([32, 64], True)
    assert read(whole, "teacher", "evaluation.json")["miou"] == usual["miou"]


def test_predict_writes_class_maps_with_a_palette_and_overlays(
    whole: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "new").mkdir()
    for name, size in (("a", (70, 50)), ("b", (40, 90))):
        pixels = rng.integers(0, 255, (*size, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "new" / f"{name}.png")
    config = tiny_masks.get_config()
    config.predict.update(input=str(tmp_path / "new"), output=str(tmp_path / "out"))
    run("predict", config, whole)
    classes = json.loads((tmp_path / "out" / "classes.json").read_text())
    mask = Image.open(tmp_path / "out" / "masks" / "b.png.png")
    assert (mask.mode, mask.size) == ("P", (90, 40))
    palette = np.array(mask.getpalette()).reshape(-1, 3)
    assert [row["color"] for row in classes] == palette[: len(classes)].tolist()
    assert np.array(mask).max() < len(classes)
    assert Image.open(tmp_path / "out" / "drawn" / "a.png.png").size == (50, 70)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": "panoptic"}, "'panoptic' is not one of detection, segmentation"),
        ({"data.kind": "tfds", "data.tfds": "voc/2012"}, "no masks"),
        ({"joint.weight": 0.5}, "joint training is of detectors"),
        ({"segmentation.loss_resolution": "half"}, "stride4, full"),
        ({"image.size_px": 100}, "multiple of 32"),
        ({"model.neck": "bifpn"}, "fpn, nas_fpn"),
        ({"data.kind": "voc", "data.dir": "/nowhere"}, "/nowhere"),
        ({"data.kind": "coco", "data.dir": "/nowhere"}, "builtin, voc, folder"),
    ],
)
def test_a_users_mistake_is_told_before_anything_is_trained(
    changes: dict[str, object], words: str, tmp_path: pathlib.Path
) -> None:
    config = tiny_masks.get_config()
    config.update_from_flattened_dict(changes)
    with pytest.raises(InputError, match=words):
        run_job("selftrain", config, tmp_path / "run")
    assert not (tmp_path / "run" / "teacher").exists()


def test_a_scale_of_zero_is_told_when_labels_are_asked_for(whole: pathlib.Path) -> None:
    config = tiny_masks.get_config()
    config.predict.update(input=str(whole / "student" / "masks"), scales=(0.0, 1.0))
    with pytest.raises(InputError, match="each above 0"):
        run_job("predict", config, whole)


def test_training_masks_that_are_ignored_everywhere_are_refused(tmp_path: pathlib.Path) -> None:
    for split in ("train", "val", "test"):
        for folder, value in (("images", (9, 9, 9)), ("masks", 255)):
            (tmp_path / split / folder).mkdir(parents=True)
            mode = "RGB" if folder == "images" else "L"
            Image.new(mode, (64, 64), value).save(tmp_path / split / folder / "a.png")
    config = tiny_masks.get_config()
    config.data.update(kind="folder", dir=str(tmp_path), classes="sky,road")
    config.data.update(images="{split}/images", masks="{split}/masks")
    config.unlabeled.kind = "none"
    with pytest.raises(InputError, match="ignore"):
        run_job("selftrain", config, tmp_path / "run")
