"""Segmentation by the command: teacher, pseudo masks, control, student, and what users do with the result."""

import contextlib
import io
import json
import logging
import pathlib
from collections.abc import Callable
from functools import partial

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

import selftrain_jax
from selftrain_jax.demo.builtin import MASK_CATEGORIES, read_builtin_masks
from selftrain_jax.errors import InputError
from selftrain_jax.jobs import run_job
from selftrain_jax.jobs.options import Options
from selftrain_jax.jobs.run import open_run
from selftrain_jax.types import FittedImages, PixelLogits
from tests import tiny_masks

pytestmark = [pytest.mark.tf, pytest.mark.compiles]
STAGES = ("teacher", "control", "student")
CLASSIFIER_GAIN = 20.0
NUM_CLASSES = len(MASK_CATEGORIES)
VOID = 255


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
            run_job(job, config, workdir, Options(stage=stage))
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
    assert evaluation["miou"] == pytest.approx(mean_iou(truth, found), abs=1e-12)
    assert evaluation["pixel_accuracy"] == pytest.approx((truth == found)[truth != VOID].mean(), abs=1e-12)
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


def test_the_report_shows_this_runs_scores_masks_and_pictures(whole: pathlib.Path) -> None:
    page = (whole / "report.html").read_text()
    for stage in STAGES:
        evaluation = read(whole, stage, "evaluation.json")
        scores = [f"{100 * evaluation[key]:.1f}" for key in ("miou", "miou_resized", "pixel_accuracy")]
        cells = "".join(f"<td>{score}</td>" for score in scores)
        assert f'<th scope="row">{stage}</th>{cells}' in page
    coverage = read(whole, "pseudo_labels", "manifest.json")["coverage"]
    assert f"coverage, the share of pixels kept</th><td>{100 * coverage:.1f} %</td>" in page
    for word in ("before", "after"):
        assert page.count(f'<img alt="{word}: ') == 4 * 4  # policies, images
    assert page.count('<img alt="pseudo mask, ') >= 4
    assert page.count('<img alt="student, mIoU ') == page.count('<img alt="teacher, mIoU ') >= 4
    assert f"Confusion matrix of the student; percent right: {MASK_CATEGORIES[0].name}" in page
    assert page.count("<svg") >= 15


def test_evaluation_over_scales_stands_beside_the_usual_one(whole: pathlib.Path) -> None:
    usual = read(whole, "teacher", "evaluation.json")
    run("evaluate", several_scales(), whole)
    several = read(whole, "teacher", "evaluation_scales.json")
    assert (several["sizes_px"], several["flip"]) == ([32, 64], True)
    assert several["checkpoint"] == usual["checkpoint"]
    assert set(several["per_image"]) == set(usual["per_image"])
    assert read(whole, "teacher", "evaluation.json")["per_image"] == usual["per_image"]


def test_evaluation_over_scales_is_what_numpy_makes_of_the_networks_logits(tmp_path: pathlib.Path) -> None:
    opened = open_run(several_scales(), tmp_path)
    source, task = opened.sources.test, opened.experiment.task
    variables = jax.jit(task.init)(jax.random.key(0))
    # An untrained head says nothing; chance tells the classes apart.
    classifier = variables["params"]["segmenter"]["classifier"]
    classifier["kernel"] = CLASSIFIER_GAIN * jax.random.normal(jax.random.key(1), classifier["kernel"].shape)
    predict = partial(jax.jit(task.predict), variables)
    truth = [source.read_labels(index)["mask"] for index in range(len(source))]
    found = [averaged_classes(predict, source.read_image(index)) for index in range(len(source))]
    expected, known = np.zeros((NUM_CLASSES, NUM_CLASSES), int), np.not_equal(truth, VOID)
    np.add.at(expected, (np.array(truth)[known], np.array(found)[known]), 1)
    several, single = (
        measure(variables, source) for measure in (opened.predictor.measure_scales, opened.predictor.measure)
    )
    # A pixel between two classes may fall to either by rounding.
    assert np.abs(np.subtract(several["confusion"], expected)).sum() <= 4
    assert np.abs(np.subtract(single["confusion"], expected)).sum() > 400
    mious = [mean_iou(*pair) for pair in zip(truth, found, strict=True)]
    np.testing.assert_allclose(list(several["per_image"].values()), mious, atol=1e-3)


def several_scales() -> ConfigDict:
    config = tiny_masks.get_config()
    config.evaluate.update(scales=(0.5, 1.0), flip=True)
    return config


def averaged_classes(predict: Callable[[FittedImages], PixelLogits], image: np.ndarray) -> np.ndarray:
    """Average softmax over an image of 64 px, its every second pixel, and both mirrored."""
    total: np.ndarray | float = 0.0
    for step in (2, 1):
        for order in (1, -1):
            view = image[:, ::order][::step, ::step]
            fitted = FittedImages(view[None], np.array([view.shape[:2]], np.int32))
            logits = np.asarray(predict(fitted).logits[0], np.float64)
            power = np.exp(enlarge(enlarge(logits, len(view)), 64))
            total = total + (power / power.sum(axis=-1, keepdims=True))[:, ::order]
    return np.argmax(total, axis=-1)


def enlarge(values: np.ndarray, size: int) -> np.ndarray:
    """Interpolate both axes from their corner on; the last value is repeated."""
    for axis in (0, 1):
        place = np.arange(size) * values.shape[axis] / size
        low = np.floor(place).astype(int)
        share = (place - low).reshape([-1, 1, 1] if axis == 0 else [1, -1, 1])
        near, far = (values.take(np.minimum(index, values.shape[axis] - 1), axis) for index in (low, low + 1))
        values = near * (1 - share) + far * share
    return values


def mean_iou(truth: np.ndarray, found: np.ndarray) -> float:
    truth, found = truth[truth != VOID], found[truth != VOID]
    ious = [
        ((truth == k) & (found == k)).sum() / union
        for k in range(NUM_CLASSES)
        if (union := ((truth == k) | (found == k)).sum())
    ]
    return float(np.mean(ious))


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
    mask = Image.open(tmp_path / "out" / "masks" / "b.png")
    assert (mask.mode, mask.size) == ("P", (90, 40))
    palette = np.array(mask.getpalette()).reshape(-1, 3)
    assert [row["color"] for row in classes] == palette[: len(classes)].tolist()
    assert np.array(mask).max() < len(classes)
    assert Image.open(tmp_path / "out" / "drawn" / "a.png").size == (50, 70)
    from_python = selftrain_jax.load(whole, batch_size=config.eval.batch_size).predict(tmp_path / "new")
    for found, name in zip(from_python, "ab", strict=True):
        written = np.array(Image.open(tmp_path / "out" / "masks" / f"{name}.png"))
        np.testing.assert_array_equal(found.class_ids, written)
        assert found.scores.shape == written.shape
        assert 0 < found.scores.max() <= 1
        assert found.class_names == {row["id"]: row["name"] for row in classes}


@pytest.mark.parametrize(("name", "nms"), [("savedmodel", True), ("tflite", False), ("stablehlo", True)])
def test_an_exported_segmenter_says_the_same_classes(
    whole: pathlib.Path, tmp_path: pathlib.Path, name: str, nms: bool
) -> None:
    config = tiny_masks.get_config()
    config.export.update(format=name, output=str(tmp_path / "out"), nms=nms, batch_size=2)
    run("export", config, whole)
    card = json.loads((tmp_path / "out/export.json").read_text())
    assert card["task"] == "segmentation"
    assert set(card["outputs"]) == ({"classes", "scores"} if nms else {"logits"})
    assert card["differences"].get("scores", 0) < 1e-5
    assert card["differences"].get("logits", 0) < 1e-3
    assert card["differences"].get("classes", 0) < 1e-3
    assert card["num_compared"] > 0
    if nms:
        image = read_builtin_masks("test", num_images=1, image_size_px=64).read_image(0)
        (found,) = selftrain_jax.load(tmp_path / "out").predict(image)
        (wanted,) = selftrain_jax.load(whole, batch_size=2).predict(image)
        assert (found.class_ids == wanted.class_ids).mean() > 0.99  # all but contours
        assert found.class_names == wanted.class_names


def test_images_that_cannot_be_read_are_listed_when_the_others_have_their_masks(
    whole: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "new").mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / "new" / "good.png")
    encoded = (tmp_path / "new" / "good.png").read_bytes()
    (tmp_path / "new" / "cut.png").write_bytes(encoded[:60])
    (tmp_path / "new" / "empty.jpg").write_bytes(b"")
    config = tiny_masks.get_config()
    config.predict.update(input=str(tmp_path / "new"), output=str(tmp_path / "out"))
    with pytest.raises(InputError, match=r"(?s)2 images cannot be read.*The others.*cut\.png.*empty\.jpg"):
        run_job("predict", config, whole)
    assert [path.name for path in (tmp_path / "out" / "masks").iterdir()] == ["good.png"]
    (tmp_path / "new" / "good.png").unlink()
    with pytest.raises(InputError, match=r"2 images cannot be read.*There is no other"):
        run_job("predict", config, whole)


def test_images_that_would_have_one_mask_are_refused(whole: pathlib.Path, tmp_path: pathlib.Path) -> None:
    for suffix in ("png", "jpg"):
        Image.new("RGB", (40, 40)).save(tmp_path / f"a.{suffix}")
    config = tiny_masks.get_config()
    config.predict.update(input=str(tmp_path), output=str(tmp_path / "out"))
    with pytest.raises(InputError, match=r"nothing but the suffix: a\.jpg, a\.png"):
        run_job("predict", config, whole)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": "panoptic"}, "'panoptic' is not one of detection, segmentation"),
        ({"data.kind": "tfds", "data.tfds": "voc/2012"}, "no masks"),
        ({"joint.weight": 0.5}, "joint training is of detectors"),
        ({"segmentation.loss_resolution": "half"}, "stride4, full"),
        ({"segmentation.class_balance": 2.0}, "class_balance=2"),
        ({"segmentation.class_weights": (1.0,)}, "has 1 weights"),
        ({"model.neck": "bifpn"}, "fpn, nas_fpn"),
        ({"data.kind": "voc", "data.dir": "/nowhere"}, "/nowhere"),
        ({"data.kind": "coco", "data.dir": "/nowhere"}, "builtin, voc, folder"),
        ({"pseudo.scales": (0.0, 1.0)}, "each above 0"),
        ({"evaluate.scales": (-1.0,)}, "each above 0"),
        ({"pseudo.threshold": 1.5}, "between 0 and 1"),
        ({"pseudo.per_class_thresholds": "cat=0.5"}, "unknown classes"),
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
    with pytest.raises(InputError, match="not one pixel of its 1 masks has a class"):
        run_job("selftrain", config, tmp_path / "run")
