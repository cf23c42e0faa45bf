"""Numbers of finished runs of the paper's rows; call `read_results`.

A run is a folder with summary.json, made with configs/paper.py, which says the row in config.paper. Its
number counts for the stage that it was measured on (`selftrain_jax.paper.plan.graph`), so that a run of one
table is a result of every table with the same run, and a student's run is a result of its teacher's row too.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json
from selftrain_jax.paper.plan.graph import Search, Stage, Student, Teacher, find_result, seed_of
from selftrain_jax.paper.plan.networks import FACTS
from selftrain_jax.paper.row import Row
from selftrain_jax.paper.rows import find_row
from selftrain_jax.run_files.diverged import DIVERGED_FILE
from selftrain_jax.run_files.search import SEARCH_FILE
from selftrain_jax.run_files.search import Search as SearchFile
from selftrain_jax.run_files.summary import SUMMARY_FILE, StageSummary, Summary
from selftrain_jax.run_files.variants import CONFIG_FILE

SCORES = ("ap", "miou_resized", "miou")  # the first that a stage has; the paper's mIoU is of resized masks
# Numbers of a server, which our runs do not have: they measure on val.
SERVER_METRICS = ("COCO test-dev AP", "VOC2012 test mIoU")
ALPHA_KEY = "selftrain.alpha"
FULL = "full"  # the scale of runs whose config.paper has none
REMEDY = "Run the same command again; it writes the file anew."

Sample = Mapping[int, float | None]
"""Numbers by seed; None where the training diverged."""


class Results(NamedTuple):
    """What runs reached; a stage has its seed in it."""

    by_stage: Mapping[Stage, float | None]
    seeds: tuple[int, ...]
    num_runs: int
    remarks: tuple[str, ...] = ()  # what makes a run differ from the paper's
    scale: str = FULL  # or what config.paper.scale of the runs says

    def of_row(self, row: Row) -> Sample:
        """Return a row's numbers; of a server's number there are none."""
        if row.metric in SERVER_METRICS:
            return {}
        stages = {seed: find_result(row, seed) for seed in self.seeds}
        return {seed: self.by_stage[stage] for seed, stage in stages.items() if stage in self.by_stage}


class _Run(NamedTuple):
    """A finished run of a row."""

    folder: Path
    row: Row
    seed: int
    config: Mapping[str, Any]
    summary: Summary | None  # None: it diverged


def read_results(root: Path) -> Results:
    """Read all runs of the paper below a folder; other runs are left out.

    Raises:
        InputError: there is none, a file is damaged, or the runs are of several scales.
    """
    if not root.is_dir():
        raise InputError(f"--runs={root} is not a folder")
    runs = [run for folder in _find_folders(root) if (run := _read_run(folder)) is not None]
    if not runs:
        raise InputError(
            f"--runs={root} has no run of the paper in it, which is a folder with {SUMMARY_FILE} made by "
            "python -m selftrain_jax.main --config=configs/paper.py:table=TABLE,row=ROW --workdir=FOLDER"
        )
    scale = _find_scale(root, runs)
    numbers: dict[Stage, float | None] = {}
    for own in [_own_number(run) for run in runs] + [_teachers_number(run) for run in runs]:
        for stage, number in own.items():
            numbers.setdefault(stage, number)
    remarks = tuple(text for run in runs if (text := _other_settings(run)))
    seeds = {seed for stage in numbers if (seed := seed_of(stage)) is not None}
    return Results(numbers, tuple(sorted(seeds)), len(runs), remarks, scale)


def _find_folders(root: Path) -> Iterator[Path]:
    """Yield the folders of runs that ended; what is inside of a run, as its variants, is its own."""
    for folder, children, files in os.walk(root):
        children.sort()
        has_ended = SUMMARY_FILE in files or DIVERGED_FILE in files
        if has_ended or CONFIG_FILE in files:
            children.clear()
        if has_ended:
            yield Path(folder)


def _read_run(folder: Path) -> _Run | None:
    """Read a folder; None where its run is not of the paper's rows."""
    path = folder / SUMMARY_FILE
    if path.exists():
        summary = Summary.from_json(read_json(path, REMEDY), path)
        config, seed = summary.config, summary.seed
    else:
        summary, config = None, read_json(folder / CONFIG_FILE, REMEDY)
        seed = config.get("seed", 0) if isinstance(config, dict) else 0
    paper = config.get("paper") if isinstance(config, dict) else None
    if not isinstance(paper, dict) or "table" not in paper or "row" not in paper:
        return None
    try:
        return _Run(folder, find_row(paper["table"], paper["row"]), seed, config, summary)
    except (InputError, TypeError) as error:
        raise InputError(f"{folder}: its config.paper names no row of the paper: {error}") from error


def _find_scale(root: Path, runs: list[_Run]) -> str:
    """Return the scale of all runs. Raises: InputError: there are several."""
    scales = sorted({str(run.config["paper"].get("scale") or FULL) for run in runs})
    if len(scales) > 1:
        raise InputError(
            f"--runs={root} has runs of the scales {', '.join(scales)}, which are not to be mixed; give a "
            "folder of one scale"
        )
    return scales[0]


def _own_number(run: _Run) -> dict[Stage, float | None]:
    """Return the number of the stage that the run's row is measured on; {} where it is not there."""
    result = find_result(run.row, run.seed)
    if isinstance(result, Search):
        return _searched_alphas(run)
    kind = "student" if isinstance(result, Student) else "teacher"
    if run.summary is None:
        diverged = read_json(run.folder / DIVERGED_FILE, REMEDY)
        is_own = isinstance(diverged, dict) and diverged.get("stage") == kind
        return {result: None} if is_own else {}
    return _number(run, kind, result)


def _teachers_number(run: _Run) -> dict[Stage, float | None]:
    """Return the teacher's number of a run with students."""
    match find_result(run.row, run.seed):
        case Student(labels=labels):
            return _number(run, "teacher", labels.teacher)
        case Search(students=students):
            return _number(run, "teacher", students[0].labels.teacher)
    return {}


def _number(run: _Run, kind: str, stage: Stage) -> dict[Stage, float | None]:
    summary = run.summary.stages.get(kind) if run.summary else None
    score = None if summary is None else _score(summary)
    return {} if score is None or score < 0 else {stage: 100 * score}


def _score(summary: StageSummary) -> float | None:
    found = next((summary.scores[name] for name in SCORES if name in summary.scores), None)
    return None if found is None else float(found)


def _searched_alphas(run: _Run) -> dict[Stage, float | None]:
    """Return each seed's best alpha on val, of a seed whose points were all measured."""
    path = run.folder / SEARCH_FILE
    if not path.exists():
        return {}
    search = SearchFile.from_json(read_json(path, REMEDY), path)
    found: dict[Stage, float | None] = {}
    for seed in search.seeds or (run.seed,):
        points = [p for p in search.points if p.seed == seed and p.val is not None and p.val >= 0]
        if len(points) == len(search.combinations()) and all(ALPHA_KEY in p.values for p in points):
            best = max(points, key=lambda point: point.val or 0.0)
            found[find_result(run.row, seed)] = float(best.values[ALPHA_KEY])
    return found


def _other_settings(run: _Run) -> str:
    """Say where a run at the paper's scale was not the paper's; "" where it was."""
    if run.config["paper"].get("scale"):
        return ""
    expected = _expected_settings(run)
    found = {key: _look_up(run.config, key) for key in expected}
    other = [f"{key}={found[key]} in place of {own}" for key, own in expected.items() if found[key] != own]
    return f"{run.folder}: {', '.join(other)}" if other else ""


def _expected_settings(run: _Run) -> dict[str, Any]:
    """Return what decides the numbers most, by config key."""
    result = find_result(run.row, run.seed)
    student = result.students[0] if isinstance(result, Search) else result
    teacher = student.labels.teacher if isinstance(student, Student) else student
    if not isinstance(teacher, Teacher):
        return {}
    facts = FACTS[teacher.network]
    expected: dict[str, Any] = {
        "model.backbone": teacher.network.backbone,
        "image.size_px": teacher.network.image_size_px,
        "teacher.steps": teacher.steps,
        "teacher.batch_size": facts.teacher_batch,
    }
    if isinstance(student, Student):
        expected |= {"student.steps": student.steps, "student.batch_size": facts.student_batch}
    if isinstance(result, Student):
        expected["selftrain.alpha"] = result.alpha
    return expected


def _look_up(config: Mapping[str, Any], key: str) -> Any:
    group, _, name = key.partition(".")
    own = config.get(group)
    return own.get(name) if isinstance(own, dict) else None
