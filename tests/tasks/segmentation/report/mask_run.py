"""A fabricated workdir of a segmentation run, for the tests of its report.

Three classes; the first is the background, the second has a name that must be escaped.
"""

import json
from pathlib import Path

import numpy as np

from selftrain_jax.data.source import Source
from selftrain_jax.report.workdir import RunFiles, read_run
from selftrain_jax.tasks.segmentation.draw import mask_path, save_mask_png
from selftrain_jax.tasks.segmentation.report.sections import MaskImages, read_predicted
from selftrain_jax.tasks.segmentation.run_files import MaskDetails, MaskTotals
from selftrain_jax.types import Category

EVIL = "<script>alert('x')</script>"
NAMES = ("background", EVIL, "$a_b$ & co")
MIOU = {"teacher": 0.45, "control": 0.482, "student": 0.531}
CONFUSION = {
    "teacher": [[60, 40, 0], [30, 70, 0], [10, 0, 10]],
    "control": [[70, 30, 0], [25, 75, 0], [10, 0, 10]],
    "student": [[80, 20, 0], [10, 85, 5], [5, 0, 15]],
}
IMAGE_MIOU = {
    "teacher": {"t/0": 0.4, "t/1": 0.5, "t/2": 0.6, "t/3": None},
    "control": {"t/0": 0.5, "t/1": 0.5, "t/2": 0.6, "t/3": None},
    "student": {"t/0": 0.7, "t/1": 0.55, "t/2": 0.5, "t/3": None},
}
THRESHOLDS = [round(0.05 * step, 2) for step in range(20)]
SIZE = (20, 30)


def write_mask_workdir(workdir: Path) -> Path:
    for name in MIOU:
        _write_stage(workdir, name)
    _write_labels(workdir)
    _write(workdir / "categories.json", [category._asdict() for category in CATEGORIES])
    _write(workdir / "config.json", {"task": "segmentation", "name": EVIL})
    summary = {"command": f"python -m selftrain_jax.main {EVIL}", "versions": {}, "config": {}}
    _write(workdir / "summary.json", {**summary, "seed": 0, "device": "cpu", "seconds_total": 99.0})
    return workdir


def read_mask_run(workdir: Path) -> RunFiles:
    return read_run(workdir, MaskDetails, MaskTotals)


def make_mask_images(workdir: Path) -> MaskImages:
    test_source = make_mask_source("t", 4, {"mask": stripes(0)})
    pair = (test_source.read(0), test_source.read(1))
    return MaskImages(
        test_source=test_source,
        pseudo_raw=make_mask_source("p", 3, {"mask": stripes(5), "confidence": ramp(), "is_pseudo": True}),
        pseudo_truth=lambda image_id: {"image_id": image_id, "mask": stripes(0)},
        augmented={"s1": [pair], "s4": [pair]},
        threshold=0.5,
        predicted=read_predicted(workdir),
    )


CATEGORIES = tuple(Category(place, name) for place, name in enumerate(NAMES))


def make_mask_source(prefix: str, count: int, labels: dict) -> Source:
    ids = tuple(f"{prefix}/{index}" for index in range(count))
    return Source(
        name=prefix,
        categories=CATEGORIES,
        image_ids=ids,
        read_labels=lambda index: {"image_id": ids[index], **labels},
        read_encoded=lambda index: b"",
        read_image=lambda index: np.full((*SIZE, 3), 90 + index, np.uint8),
    )


def stripes(shift: int) -> np.ndarray:
    """Give the columns the classes 0, 1 and 2, ten each, moved to the right; the last row is ignored."""
    columns = (np.arange(SIZE[1]) - shift) // 10 % 3
    mask = np.tile(columns.astype(np.uint8), (SIZE[0], 1))
    mask[-1] = 255 if shift == 0 else 2
    return mask


def ramp() -> np.ndarray:
    """Let the confidence rise from row to row, from 5/256 to 195/256: ten of 20 rows have 0.4 or more."""
    return np.repeat((np.arange(SIZE[0]) * 10 + 5).astype(np.uint8)[:, None], SIZE[1], axis=1)


def _write_stage(workdir: Path, name: str) -> None:
    rows = [
        {
            "step": step,
            "train/loss_human": 2.0 - step / 100,
            "train/loss_pseudo": 0.0 if name == "teacher" else 1.5 - step / 100,
            "train/pixel_accuracy_human": 0.8,
            "train/pixel_accuracy_pseudo": 0.9 + step / 1000,
            "train/valid_pixels_human": 0.95,
            "train/valid_pixels_pseudo": 0.6 + step / 1000,
            "loss_norm/ratio": 1.0,
            "speed/images_per_second": 10.0 + step,
        }
        for step in (10, 20, 30)
    ]
    rows += [
        {"step": step, "eval/miou": MIOU[name] * step / 30, "eval/pixel_accuracy": 0.7} for step in (15, 30)
    ]
    (workdir / name).mkdir(parents=True, exist_ok=True)
    (workdir / name / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    iou = {class_name: MIOU[name] + place / 100 for place, class_name in enumerate(NAMES)}
    evaluation = {
        **{"miou": MIOU[name], "miou_resized": MIOU[name] + 0.01, "pixel_accuracy": 0.7},
        "per_class": {
            class_name: {"iou": value, "iou_resized": value + 0.01, "num_pixels": pixels}
            for (class_name, value), pixels in zip(iou.items(), (100, 100, 20), strict=True)
        },
        "confusion": CONFUSION[name],
        "per_image": IMAGE_MIOU[name],
        **{"num_images": 4, "split": "test", "checkpoint_step": 30, "checkpoint": "last"},
        **{"training_secs": 12.0, "image_size_px": 64},
    }
    _write(workdir / name / "evaluation.json", evaluation)
    (workdir / name / "masks").mkdir()
    for index in range(4):
        mask = np.where(stripes(1 + len(name) % 3) == 255, 0, stripes(1 + len(name) % 3))
        save_mask_png(mask_path(workdir / name / "masks", f"t/{index}"), mask)


def _write_labels(workdir: Path) -> None:
    manifest = {
        **{"kind": "masks", "threshold": 0.5, "num_images": 3, "num_bad_images": 0, "num_pixels": 1800},
        **{"num_pixels_at_threshold": 630, "coverage": 0.35, "images_without_pixels_at_threshold": 0},
        **{"seconds": 3.0, "bad_images": [], "shards": []},
        "per_class": {
            name: {"pixels": 600, "pixels_at_threshold": kept}
            for name, kept in zip(NAMES, (400, 230, 0), strict=True)
        },
        "confidence_histogram": {"edges": np.linspace(0, 1, 21).tolist(), "counts": list(range(20))},
        "coverage_by_threshold": {
            "thresholds": THRESHOLDS,
            "coverage": [1 - threshold for threshold in THRESHOLDS],
        },
        "categories": [category._asdict() for category in CATEGORIES],
    }
    _write(workdir / "pseudo_labels" / "manifest.json", manifest)
    values = {"precision": [*THRESHOLDS[:-1], None], "recall": THRESHOLDS[::-1]}
    quality = {
        "thresholds": THRESHOLDS,
        "overall": {**values, "miou": [0.5] * 20, "coverage": THRESHOLDS[::-1]},
        "per_class": dict.fromkeys(NAMES, values),
        "calibration": {
            "edges": np.linspace(0, 1, 11).tolist(),
            "mean_score": [None, *np.linspace(0.15, 0.95, 9).tolist()],
            "precision": [None, *np.linspace(0.1, 0.9, 9).tolist()],
            "count": [0, *range(1, 10)],
            "expected_calibration_error": 0.05,
        },
        "at_threshold": {"threshold": 0.5, "precision": 0.9, "recall": 0.4, "miou": 0.6, "coverage": 0.35},
    }
    _write(workdir / "pseudo_labels" / "quality.json", quality)


def _write(path: Path, value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
