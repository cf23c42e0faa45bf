"""What a run of the paper's recipe (section 3.1: teacher, pseudo labels, student) has written so far.

Call `read_run`. A file that does not exist yet is None or empty: a running workdir is a good workdir.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float

from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json
from selftrain_jax.run_files.calibration import CALIBRATION_FILE, TeacherCalibration
from selftrain_jax.run_files.evaluation import EVALUATION_FILE, SCALES_FILE, Evaluation, EvaluationDetails
from selftrain_jax.run_files.fields import JsonObject, Number
from selftrain_jax.run_files.manifest import MANIFEST_FILE, LabelTotals, Manifest
from selftrain_jax.run_files.metrics import Row, merge_steps, read_metrics
from selftrain_jax.run_files.quality import QUALITY_FILE, Quality
from selftrain_jax.run_files.summary import STAGES, SUMMARY_FILE, Summary
from selftrain_jax.types import Category

LABELS_FOLDER = "pseudo_labels"
T = TypeVar("T")


class StageFiles(NamedTuple):
    """The files of one trained model."""

    metrics: tuple[Row, ...]  # one a step, in order of steps
    evaluation: Evaluation[Any] | None
    evaluation_scales: Evaluation[Any] | None  # averaged over config.evaluate's scales
    detections: list[JsonObject] | None  # COCO's results


class RunFiles(NamedTuple):
    """The files of a workdir; `stages` has every name of STAGES."""

    workdir: Path
    stages: dict[str, StageFiles]
    manifest: Manifest[Any] | None  # of the pseudo labels
    calibration: TeacherCalibration | None  # of the teacher on val, by --job=thresholds
    quality: Quality | None  # of the pseudo labels, when the truth is known
    ground_truth: JsonObject | None  # COCO format, test split
    summary: Summary | None
    config: JsonObject | None
    categories: tuple[Category, ...]  # the classes that the run was trained on


def read_run(workdir: Path, details: type[EvaluationDetails], totals: type[LabelTotals]) -> RunFiles:
    """Read every file of a workdir that the report uses; `details` and `totals` are those of the run's task.

    Raises: InputError when the folder does not exist, or a file in it is not of the form that runs write.
    """
    if not workdir.is_dir():
        raise InputError(f"{workdir}: no such folder; give the --workdir of a run")
    labels = workdir / LABELS_FOLDER
    return RunFiles(
        workdir=workdir,
        stages={name: _read_stage(workdir / name, details) for name in STAGES},
        manifest=_read_as(labels / MANIFEST_FILE, partial(Manifest.from_json, totals=totals)),
        calibration=_read_as(workdir / "teacher" / CALIBRATION_FILE, TeacherCalibration.from_json),
        quality=_read_as(labels / QUALITY_FILE, Quality.from_json),
        ground_truth=read_known(workdir / "ground_truth.json"),
        summary=_read_as(workdir / SUMMARY_FILE, Summary.from_json),
        config=read_config(workdir),
        categories=_categories(read_known(workdir / "categories.json") or []),
    )


def read_known(path: Path) -> Any:
    """Read a JSON file of a run; None when there is none. Raises: InputError when it is not JSON."""
    return read_json(path, "delete the file and run its stage again") if path.exists() else None


def read_config(workdir: Path) -> JsonObject | None:
    """Read the configuration of a run, which older ones have in their summary only."""
    return read_known(workdir / "config.json") or (read_known(workdir / SUMMARY_FILE) or {}).get("config")


def series(stage: StageFiles, key: str) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """Pick the steps at which `key` was logged, and its values; null becomes NaN."""
    rows = [row for row in stage.metrics if key in row]
    return as_floats([row["step"] for row in rows]), as_floats([row[key] for row in rows])


def as_floats(values: Sequence[Number | None]) -> Float[np.ndarray, " N"]:
    """Turn numbers into an array; None becomes NaN."""
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def evaluations(run: RunFiles) -> dict[str, Evaluation[Any]]:
    """Give the final evaluations that are there, by stage."""
    return {name: stage.evaluation for name, stage in run.stages.items() if stage.evaluation is not None}


def points(value: Number | None) -> float:
    """Turn a score from 0 to 1 into points of 100; NaN where it is undefined (-1)."""
    return np.nan if value is None or value < 0 else 100.0 * value


def threshold_used(run: RunFiles) -> float | None:
    """Give the score from which the teacher's predictions became labels, once it is written down."""
    return None if run.manifest is None else float(run.manifest.threshold)


def class_names(run: RunFiles, *sources: Source | None) -> dict[int, str]:
    """Name the classes by id, as training, the test split, the pseudo labels and the sources do."""
    listed = [
        *run.categories,
        *_categories((run.ground_truth or {}).get("categories", [])),
        *(() if run.manifest is None else run.manifest.categories),
    ]
    return dict(listed) | {
        id: name for source in sources if source is not None for id, name in source.categories
    }


def _categories(records: list[JsonObject]) -> tuple[Category, ...]:
    return tuple(Category(int(record["id"]), str(record["name"])) for record in records)


def _read_as(path: Path, from_json: Callable[[Any, Path], T]) -> T | None:
    value = read_known(path)
    return None if value is None else from_json(value, path)


def _read_stage(folder: Path, details: type[EvaluationDetails]) -> StageFiles:
    from_json = partial(Evaluation.from_json, details=details)
    return StageFiles(
        metrics=merge_steps(read_metrics(folder / "metrics.jsonl")),
        evaluation=_read_as(folder / EVALUATION_FILE, from_json),
        evaluation_scales=_read_as(folder / SCALES_FILE, from_json),
        detections=read_known(folder / "detections.json"),
    )
