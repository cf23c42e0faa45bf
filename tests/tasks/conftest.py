import json
from pathlib import Path

import numpy as np
import pytest

from selftrain_jax.data.source import Source
from selftrain_jax.jobs.report import write_report
from selftrain_jax.report.workdir import RunFiles, read_run
from selftrain_jax.tasks.detection.report.sections import BoxImages
from selftrain_jax.tasks.detection.run_files import BoxDetails, BoxTotals
from selftrain_jax.tasks.lookup import get_task
from selftrain_jax.tasks.segmentation.report.sections import MaskImages
from selftrain_jax.types import Category
from tests.tasks.segmentation.report.mask_run import make_mask_images, write_mask_workdir

EVIL = "<script>alert('x')</script>"
NAMES = ("cat", EVIL, "$a_b$ & co")
THRESHOLDS = [round(0.05 * step, 2) for step in range(1, 20)]
AP = {"teacher": 0.272, "control": 0.281, "student": 0.312}


def write_json(path: Path, value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def write_stage(workdir: Path, name: str) -> None:
    rows = [
        {
            "step": step,
            "train/loss_human": 2.0 - step / 100,
            "train/loss_pseudo": 0.0 if name == "teacher" else 1.5 - step / 100,
            "loss_norm/human_average": 0.5 + step / 1000,
            "loss_norm/pseudo_average": 0.4,
            "loss_norm/ratio": (0.5 + step / 1000) / 0.4,
            "speed/images_per_second": 10.0 + step,
            "speed/data_wait_share": None if step == 20 else 0.1,
        }
        for step in (10, 20, 30)
    ]
    rows += [{"step": step, "eval/ap": AP[name] * step / 30, "eval/ap50": 0.5} for step in (15, 30)]
    (workdir / name).mkdir(parents=True, exist_ok=True)
    (workdir / name / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    curve = np.linspace(1, 0, 101).tolist()
    evaluation = {
        **dict.fromkeys(("ap50", "ap75", "ap_medium", "ap_large", "ar_1", "ar_10", "ar_100"), 0.5),
        **{"ap": AP[name], "ap_small": -1, "ar_small": -1, "ar_medium": 0.4, "ar_large": 0.4},
        "per_class": {
            class_name: {"ap": AP[name] + place / 100, "ap50": 0.6, "num_boxes": 30 - place}
            for place, class_name in enumerate(NAMES)
        },
        "pr_curves": {
            "recall": np.linspace(0, 1, 101).tolist(),
            "precision_iou50": curve,
            "precision_iou75": curve,
            "per_class_iou50": dict.fromkeys(NAMES, curve),
        },
        **{"num_images": 2, "split": "test", "checkpoint_step": 30, "checkpoint": f"{name}/checkpoints/30"},
        "training_secs": 12.0,
    }
    write_json(workdir / name / "evaluation.json", evaluation)
    detections = [{"image_id": "t0", "category_id": 1, "bbox": [2, 1, 6, 4], "score": 0.9}]
    write_json(workdir / name / "detections.json", detections if name == "student" else [])


def write_labels(workdir: Path) -> None:
    manifest = {
        **{"threshold": 0.5, "score_floor": 0.05, "num_images": 2, "num_bad_images": 0, "num_boxes": 100},
        **{"num_boxes_at_threshold": 60, "images_without_boxes_at_threshold": 1, "seconds": 3.0},
        **{"bad_images": [], "shards": []},
        "per_class": {name: {"boxes_at_floor": 9, "boxes_at_threshold": 5} for name in NAMES},
        "score_histogram": {"edges": np.linspace(0, 1, 21).tolist(), "counts": list(range(20))},
        "categories": [{"id": place + 1, "name": name} for place, name in enumerate(NAMES)],
    }
    write_json(workdir / "pseudo_labels" / "manifest.json", manifest)
    values = {"precision": [*THRESHOLDS[:-1], None], "recall": THRESHOLDS[::-1]}
    quality = {
        **{
            "iou": 0.5,
            "thresholds": THRESHOLDS,
            "overall": values,
            "per_class": dict.fromkeys(NAMES, values),
        },
        "calibration": {
            "edges": np.linspace(0, 1, 11).tolist(),
            "mean_score": [None, *np.linspace(0.15, 0.95, 9).tolist()],
            "precision": [None, *np.linspace(0.1, 0.9, 9).tolist()],
            "count": [0, *range(1, 10)],
            "expected_calibration_error": 0.05,
        },
        "at_threshold": {"threshold": 0.5, "precision": 0.5, "recall": 0.5},
    }
    write_json(workdir / "pseudo_labels" / "quality.json", quality)


def make_source(prefix: str, boxes: list, scores: list | None) -> Source:
    """Two grey images of 20 x 30; the first has `boxes`, all of class 1, the second has none."""
    keys = [] if scores is None else [np.array(scores, np.float32), np.zeros(0, np.float32)]

    def read_labels(index):
        found = boxes if index == 0 else []
        example = {
            "image_id": f"{prefix}{index}",
            "boxes": np.array(found, np.float32).reshape(-1, 4),
            "classes": np.ones(len(found), np.int32),
        }
        return {**example, "scores": keys[index]} if keys else example

    return Source(
        name=prefix,
        categories=tuple(Category(place + 1, name) for place, name in enumerate(NAMES)),
        image_ids=(f"{prefix}0", f"{prefix}1"),
        read_labels=read_labels,
        read_encoded=lambda index: b"",
        read_image=lambda index: np.full((20, 30, 3), 90, np.uint8),
    )


def write_workdir(tmp_path: Path) -> Path:
    for name in AP:
        write_stage(tmp_path, name)
    write_labels(tmp_path)
    truth = {
        "images": [{"id": "t0", "width": 30, "height": 20}, {"id": "t1", "width": 30, "height": 20}],
        "categories": [{"id": place + 1, "name": name} for place, name in enumerate(NAMES)],
        "annotations": [{"id": 1, "image_id": "t0", "category_id": 1, "bbox": [2, 1, 8, 2], "iscrowd": 0}],
    }
    write_json(tmp_path / "ground_truth.json", truth)
    summary = {
        "command": f"python -m selftrain_jax.main {EVIL}",
        "config": {"name": EVIL},
        **{"seed": 0, "versions": {}, "device": "cpu", "seconds_total": 99.0},
    }
    write_json(tmp_path / "summary.json", summary)
    return tmp_path


def make_images() -> BoxImages:
    test_source = make_source("t", [[1, 2, 5, 8]], None)
    pair = (test_source.read(0), test_source.read(0))
    return BoxImages(
        test_source=test_source,
        pseudo_source=make_source("p", [[1, 2, 5, 8], [4, 4, 9, 9]], [0.9, 0.3]),
        pseudo_truth=lambda image_id: {
            "image_id": image_id,
            "boxes": np.array([[9, 9, 18, 18]], np.float32),
            "classes": np.array([2], np.int32),
        },
        augmented={"s1": [pair], "s4": [pair]},
        threshold=0.5,
    )


def read_box_run(workdir: Path) -> RunFiles:
    return read_run(workdir, BoxDetails, BoxTotals)


@pytest.fixture
def workdir(tmp_path) -> Path:
    return write_workdir(tmp_path)


@pytest.fixture
def images() -> BoxImages:
    return make_images()


@pytest.fixture(scope="session")
def page(tmp_path_factory) -> str:
    """Render the whole report once."""
    workdir = write_workdir(tmp_path_factory.mktemp("run"))
    path = write_report(workdir, get_task("detection"), make_images())
    return path.read_text(encoding="utf-8")


@pytest.fixture
def mask_workdir(tmp_path) -> Path:
    return write_mask_workdir(tmp_path)


@pytest.fixture
def mask_images(mask_workdir) -> MaskImages:
    return make_mask_images(mask_workdir)


@pytest.fixture(scope="session")
def mask_page(tmp_path_factory) -> str:
    """Render the whole report of a segmentation run once."""
    workdir = write_mask_workdir(tmp_path_factory.mktemp("masks"))
    path = write_report(workdir, get_task("segmentation"), make_mask_images(workdir))
    return path.read_text(encoding="utf-8")
