"""What a run of the paper's recipe (section 3.1: teacher, pseudo labels, student) has written so far.

Call `read_run`. A file that does not exist yet is None or empty: a running workdir is a good workdir.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.io import parse_shallow_json

STAGES = ("teacher", "control", "student")


class StageFiles(NamedTuple):
    """The files of one trained model."""

    metrics: tuple[dict[str, Any], ...]  # one a step, in order of steps
    evaluation: dict[str, Any] | None
    evaluation_scales: dict[str, Any] | None  # averaged over config.evaluate's scales
    detections: list[dict[str, Any]] | None


class RunFiles(NamedTuple):
    """The files of a workdir; `stages` has every name of STAGES."""

    workdir: Path
    stages: dict[str, StageFiles]
    manifest: dict[str, Any] | None  # of the pseudo labels
    quality: dict[str, Any] | None  # of the pseudo labels, when the truth is known
    ground_truth: dict[str, Any] | None  # COCO format, test split
    summary: dict[str, Any] | None
    config: dict[str, Any] | None
    categories: list[dict[str, Any]] | None  # the classes that the run was trained on


def read_run(workdir: Path) -> RunFiles:
    """Read every file of a workdir that the report uses.

    Raises: InputError when the folder does not exist or a file in it is not JSON.
    """
    if not workdir.is_dir():
        raise InputError(f"{workdir}: no such folder; give the --workdir of a run")
    summary = read_json(workdir / "summary.json")
    config = read_json(workdir / "config.json") or (summary or {}).get("config")
    return RunFiles(
        workdir=workdir,
        stages={name: _read_stage(workdir / name) for name in STAGES},
        manifest=read_json(workdir / "pseudo_labels" / "manifest.json"),
        quality=read_json(workdir / "pseudo_labels" / "quality.json"),
        ground_truth=read_json(workdir / "ground_truth.json"),
        summary=summary,
        config=config,
        categories=read_json(workdir / "categories.json"),
    )


def read_json(path: Path) -> Any:
    """Read a JSON file; None when there is none. Raises: InputError when it is not JSON."""
    if not path.exists():
        return None
    return parse_shallow_json(path.read_bytes(), str(path), "Delete the file and run its stage again.")


def read_metrics(path: Path) -> tuple[dict[str, Any], ...]:
    """Read a metrics.jsonl as one dict a step; a step run again after a resume keeps its last values.

    The last line may be half written, by a run that is still going; it is then left out.
    Raises: InputError for any other line that is not a JSON object with a `step`.
    """
    if not path.exists():
        return ()
    by_step: dict[int, dict[str, Any]] = {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        if not line.strip() or (number == len(lines) and not line.endswith("\n")):
            continue
        try:
            values = json.loads(line)
            by_step.setdefault(int(values["step"]), {}).update(values)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise InputError(
                f'{path}, line {number}: expected a JSON object with "step", found {line[:80]!r}'
            ) from error
    return tuple(by_step[step] for step in sorted(by_step))


def series(stage: StageFiles, key: str) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """Pick the steps at which `key` was logged, and its values; null becomes NaN."""
    rows = [row for row in stage.metrics if key in row]
    return as_floats([row["step"] for row in rows]), as_floats([row[key] for row in rows])


def as_floats(values: list[Any]) -> Float[np.ndarray, " N"]:
    """Turn a JSON list into an array; null becomes NaN."""
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def evaluations(run: RunFiles) -> dict[str, dict[str, Any]]:
    """Give the final evaluations that are there, by stage."""
    return {name: stage.evaluation for name, stage in run.stages.items() if stage.evaluation is not None}


def points(value: float | int | None) -> float:
    """Turn a score from 0 to 1 into points of 100; NaN where it is undefined (-1)."""
    return np.nan if value is None or value < 0 else 100.0 * value


def threshold_used(run: RunFiles) -> float | None:
    """Give the score from which the teacher's predictions became labels, once it is written down."""
    return None if run.manifest is None else float(run.manifest["threshold"])


def class_names(run: RunFiles, *sources: Source | None) -> dict[int, str]:
    """Name the classes by id, as training, the pseudo labels, the test split and the sources do."""
    listed = [
        *(run.categories or []),
        *(run.ground_truth or {}).get("categories", []),
        *(run.manifest or {}).get("categories", []),
    ]
    names = {int(category["id"]): str(category["name"]) for category in listed}
    return names | {id: name for source in sources if source is not None for id, name in source.categories}


def _read_stage(folder: Path) -> StageFiles:
    return StageFiles(
        metrics=read_metrics(folder / "metrics.jsonl"),
        evaluation=read_json(folder / "evaluation.json"),
        evaluation_scales=read_json(folder / "evaluation_scales.json"),
        detections=read_json(folder / "detections.json"),
    )
