"""What a run of the paper's recipe (section 3.1: teacher, pseudo labels, student) has written so far.

Call `read_run`. A file that does not exist yet is None or empty: a running workdir is a good workdir.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float

from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json, show
from selftrain_jax.run_files.arms import CONTROLS, find_stronger_control
from selftrain_jax.run_files.calibration import CALIBRATION_FILE, TeacherCalibration
from selftrain_jax.run_files.corrections import StoredLayer, read_layers
from selftrain_jax.run_files.evaluation import EVALUATION_FILE, SCALES_FILE, Evaluation, EvaluationDetails
from selftrain_jax.run_files.fields import JsonObject, Number
from selftrain_jax.run_files.manifest import MANIFEST_FILE, LabelTotals, Manifest
from selftrain_jax.run_files.metrics import Row, merge_steps, read_metrics
from selftrain_jax.run_files.quality import QUALITY_FILE, Quality
from selftrain_jax.run_files.rounds import Round, read_rounds, round_folder, stage_folders
from selftrain_jax.run_files.search import SEARCH_FILE, Search
from selftrain_jax.run_files.stage import STAGE_FILE, StageRecord, Stop, find_stop
from selftrain_jax.run_files.summary import STAGES, SUMMARY_FILE, Summary
from selftrain_jax.run_files.variants import CONFIG_FILE, variant_folders
from selftrain_jax.types import Category

LABELS_FOLDER = "pseudo_labels"
T = TypeVar("T")


class StageFiles(NamedTuple):
    """The files of one trained model."""

    metrics: tuple[Row, ...]  # one a step, in order of steps
    evaluation: Evaluation[Any] | None
    evaluation_scales: Evaluation[Any] | None  # averaged over config.evaluate's scales
    detections: list[JsonObject] | None  # COCO's results, of the run itself
    stop: Stop | None = None  # of a training with patience


class LabelFiles(NamedTuple):
    """The files of one folder of pseudo labels."""

    manifest: Manifest[Any] | None
    quality: Quality | None  # when the truth is known


class RoundFiles(NamedTuple):
    """The files of one round of labels and student."""

    number: int  # from 1
    val: Number  # the student's headline metric on the val split
    student: StageFiles
    labels: LabelFiles


class RunFiles(NamedTuple):
    """The files of a workdir; `stages` has every name of STAGES, the student of the kept round."""

    workdir: Path
    stages: dict[str, StageFiles]
    manifest: Manifest[Any] | None  # of the pseudo labels
    calibration: TeacherCalibration | None  # of the teacher on val, by --job=thresholds
    quality: Quality | None  # of the pseudo labels, when the truth is known
    ground_truth: JsonObject | None  # COCO format, test split
    summary: Summary | None
    config: JsonObject | None
    categories: tuple[Category, ...]  # the classes that the run was trained on
    kept_round: int
    stopped_early: bool
    rounds: tuple[RoundFiles, ...]  # none where the run has no rounds.json
    search: Search | None
    variants: Mapping[str, "RunFiles"]  # by name, without predictions and truth
    corrections: Sequence[StoredLayer] = ()  # of the pseudo labels, the lowest layer first


def read_run(workdir: Path, details: type[EvaluationDetails], totals: type[LabelTotals]) -> RunFiles:
    """Read every file of a workdir that the report uses; `details` and `totals` are those of the run's task.

    Raises: InputError when the folder does not exist, or a file in it is not of the form that runs write.
    """
    if not workdir.is_dir():
        raise InputError(f"{workdir}: no such folder; give the --workdir of a run")
    run = _read_training(workdir, details, totals)
    stages = stage_folders(workdir, read_rounds(workdir))
    return run._replace(
        stages={
            name: stage._replace(detections=read_known(stages[name] / "detections.json"))
            for name, stage in run.stages.items()
        },
        ground_truth=read_known(workdir / "ground_truth.json"),
        summary=_read_as(workdir / SUMMARY_FILE, Summary.from_json),
        search=_read_as(workdir / SEARCH_FILE, Search.from_json),
        variants={
            name: _read_training(folder, details, totals) for name, folder in variant_folders(workdir).items()
        },
    )


def _read_training(workdir: Path, details: type[EvaluationDetails], totals: type[LabelTotals]) -> RunFiles:
    """Read what all runs and variants are compared by: curves, scores and the quality of labels."""
    rounds, labels = read_rounds(workdir), _read_labels(workdir / LABELS_FOLDER, totals)
    folders = stage_folders(workdir, rounds)
    return RunFiles(
        workdir=workdir,
        stages={name: _read_stage(folders[name], details) for name in STAGES},
        manifest=labels.manifest,
        calibration=_read_as(workdir / "teacher" / CALIBRATION_FILE, TeacherCalibration.from_json),
        quality=labels.quality,
        ground_truth=None,
        summary=None,
        config=read_config(workdir),
        categories=_categories(read_known(workdir / "categories.json") or []),
        kept_round=1 if rounds is None else rounds.kept,
        stopped_early=rounds is not None and rounds.stopped_early,
        rounds=tuple(_read_round(workdir, entry, details, totals) for entry in rounds.rounds)
        if rounds
        else (),
        search=None,
        variants={},
        corrections=read_layers(workdir / LABELS_FOLDER),
    )


def read_known(path: Path) -> Any:
    """Read a JSON file of a run; None when there is none. Raises: InputError when it is not JSON."""
    return read_json(path, "delete the file and run its stage again") if path.exists() else None


def read_config(workdir: Path) -> JsonObject | None:
    """Read the configuration of a run, which older ones have in their summary only.

    Raises: InputError when a file is not JSON, or no object.
    """
    for path, key in ((workdir / CONFIG_FILE, None), (workdir / SUMMARY_FILE, "config")):
        value = read_known(path)
        if not isinstance(value, dict | None):
            raise InputError(f"{path} holds {show(value)}; expected an object. Move it away.")
        if value:
            return value if key is None else value.get(key)
    return None


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


def counted_control(run: RunFiles, key: str) -> str:
    """Name the control that counts: the stronger one by the metric `key` on the test split."""
    scores = {name: evaluation.scores[key] for name, evaluation in evaluations(run).items()}
    return find_stronger_control(scores) or CONTROLS[0]


def trained_steps(stage: StageFiles) -> int:
    """Give the steps that a stage has been trained for, as far as is written down."""
    return stage.metrics[-1]["step"] if stage.metrics else 0


def earlier_steps(run: RunFiles, name: str) -> int:
    """Count the steps behind a stage's start: the teacher's, and the students' of earlier rounds."""
    if name == "teacher":
        return 0
    students = [entry.student for entry in run.rounds if entry.number < run.kept_round]
    before = [run.stages["teacher"], *(students if name == "student" else ())]
    return sum(map(trained_steps, before))


def points(value: Number | None) -> float:
    """Turn a score from 0 to 1 into points of 100; NaN where it is undefined (-1)."""
    return np.nan if value is None or value < 0 else 100.0 * value


def stage_points(stage: StageFiles, key: str) -> float:
    """Give what a stage reached on the test split, in points; NaN where it is not evaluated."""
    return np.nan if stage.evaluation is None else points(stage.evaluation.scores[key])


def threshold_used(run: RunFiles) -> float | None:
    """Give the score from which the teacher's predictions became labels, once there are any."""
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


def _read_labels(folder: Path, totals: type[LabelTotals]) -> LabelFiles:
    manifest = _read_as(folder / MANIFEST_FILE, partial(Manifest.from_json, totals=totals))
    return LabelFiles(manifest, _read_as(folder / QUALITY_FILE, Quality.from_json))


def _read_round(
    workdir: Path, entry: Round, details: type[EvaluationDetails], totals: type[LabelTotals]
) -> RoundFiles:
    folder = round_folder(workdir, entry.round)
    student, labels = _read_stage(folder / "student", details), _read_labels(folder / LABELS_FOLDER, totals)
    return RoundFiles(entry.round, entry.val, student, labels)


def _read_stage(folder: Path, details: type[EvaluationDetails]) -> StageFiles:
    from_json = partial(Evaluation.from_json, details=details)
    return StageFiles(
        metrics=merge_steps(read_metrics(folder / "metrics.jsonl")),
        evaluation=_read_as(folder / EVALUATION_FILE, from_json),
        evaluation_scales=_read_as(folder / SCALES_FILE, from_json),
        detections=None,
        stop=find_stop(_read_as(folder / STAGE_FILE, StageRecord.from_json)),
    )
