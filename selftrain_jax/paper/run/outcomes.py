"""What a stage's command left in its folder: finished, diverged, progress; call `read_outcome`.

All is read from the files that the run itself writes, so that a stage that was run by hand counts too.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json
from selftrain_jax.paper.plan.graph import Labels, Search, Stage, Start, Student, Teacher, stage_id
from selftrain_jax.paper.run.commands import find_own_row
from selftrain_jax.run_files.diverged import DIVERGED_FILE
from selftrain_jax.run_files.search import SEARCH_FILE
from selftrain_jax.run_files.search import Search as SearchFile
from selftrain_jax.run_files.stage import STAGE_FILE, StageRecord
from selftrain_jax.run_files.summary import SUMMARY_FILE, Summary
from selftrain_jax.run_files.variants import VARIANTS_FOLDER

LABELS_FOLDER = "pseudo_labels"
REMEDY = "run the same command again"


class Outcome(NamedTuple):
    """How a stage ended, and the revision of the code that its record names, "" where none does."""

    kind: Literal["done", "diverged", "unfinished"]
    code: str = ""


def read_outcome(stage: Stage, runs: Path) -> Outcome:
    """Return what a stage's folder says; a file that is damaged is one that is not there."""
    folder = runs / stage_id(stage)
    try:
        if _is_finished(stage, folder):
            return Outcome("done", _read_code(stage, folder))
        return Outcome("diverged" if _has_diverged(stage, folder) else "unfinished")
    except InputError:
        return Outcome("unfinished")


def _is_finished(stage: Stage, folder: Path) -> bool:
    match stage:
        case Start():  # imported whole or not at all
            return folder.is_dir() and any(folder.iterdir())
        case Teacher():
            has_number = find_own_row(stage) is None or _is_in_summary(folder, "teacher")
            return has_number and _has_results(folder / "teacher")
        case Labels():
            return _has_results(folder / LABELS_FOLDER)
        case Student():
            return _is_in_summary(folder, "student") and _has_results(folder / "student")
        case Search():
            search = _read_search(folder)
            return search is not None and search.test is not None


def _has_diverged(stage: Stage, folder: Path) -> bool:
    path = folder / DIVERGED_FILE
    found = read_json(path, REMEDY) if path.exists() else None
    kind = {Teacher: "teacher", Student: "student"}.get(type(stage))
    return kind is not None and isinstance(found, dict) and found.get("stage") == kind


def _read_code(stage: Stage, folder: Path) -> str:
    record = read_record(_record_folder(stage, folder))
    return "" if record is None else record.code


def _record_folder(stage: Stage, folder: Path) -> Path:
    """Return where the record of what a stage itself made is; of a search that of the chosen student."""
    match stage:
        case Labels():
            return folder / LABELS_FOLDER
        case Student():
            return folder / "student"
        case Search():
            search = _read_search(folder)
            chosen = search.test[0].variant if search is not None and search.test else ""
            return folder / VARIANTS_FOLDER / chosen / "student"
    return folder / "teacher"


def _has_results(folder: Path) -> bool:
    record = read_record(folder)
    return record is not None and bool(record.results)


def read_record(folder: Path) -> StageRecord | None:
    """Return a folder's record, None where there is none. Raises: InputError: it is damaged."""
    path = folder / STAGE_FILE
    return StageRecord.from_json(read_json(path, REMEDY), path) if path.exists() else None


def _is_in_summary(folder: Path, kind: str) -> bool:
    path = folder / SUMMARY_FILE
    return path.exists() and kind in Summary.from_json(read_json(path, REMEDY), path).stages


def _read_search(folder: Path) -> SearchFile | None:
    path = folder / SEARCH_FILE
    return SearchFile.from_json(read_json(path, REMEDY), path) if path.exists() else None


def metrics_folders(stage: Stage, folder: Path) -> Iterable[Path]:
    """Return the folders whose metrics.jsonl tells how far a stage has come."""
    match stage:
        case Teacher():
            return (folder / "teacher",)
        case Student():
            return (folder / "student",)
        case Search():
            return sorted((folder / VARIANTS_FOLDER).glob("*/student"))
    return ()
