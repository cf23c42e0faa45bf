"""Show a diagnosis: `format_diagnosis` for the terminal, `write_doctor_report` for a page and its JSON."""

import dataclasses
import json
import os
import pathlib
from typing import Any

from selftrain_jax.doctor.diagnosis import Diagnosis, SplitSummary
from selftrain_jax.doctor.page import doctor_page
from selftrain_jax.errors import printable

LISTED = 5
SIGNS = {"ok": "ok     ", "warning": "WARNING", "error": "ERROR  "}


def format_diagnosis(diagnosis: Diagnosis) -> str:
    """Write the splits, the verdicts with what to do, and the first problems, for a terminal."""
    splits = (f"  {_describe(split)}" for split in diagnosis.splits)
    return printable("\n".join(["Splits", *splits, "", *verdict_lines(diagnosis)]))


def verdict_lines(diagnosis: Diagnosis) -> list[str]:
    """List the verdicts with what to do, the first problems, and how many errors and warnings there are."""
    lines = ["Verdicts"]
    for verdict in diagnosis.verdicts:
        lines.append(f"  {SIGNS[verdict.level]} {verdict.finding}")
        lines += [f"          -> {verdict.remedy}"] if verdict.remedy else []
    messages = [f"{problem.where}: {problem.message} [{problem.kind}]" for problem in diagnosis.problems]
    messages += [message for split in diagnosis.splits for message in split.unreadable]
    if messages:
        first = f"First {min(LISTED, len(messages))} of {len(messages):,} problems"
        lines += ["", first, *(f"  {message}" for message in messages[:LISTED])]
    levels = [verdict.level for verdict in diagnosis.verdicts]
    return [*lines, "", f"Errors: {levels.count('error')}, warnings: {levels.count('warning')}"]


def write_doctor_report(diagnosis: Diagnosis, directory: str | os.PathLike) -> pathlib.Path:
    """Write doctor.json (all but the pictures) and doctor.html (one file, no network); return the page."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "doctor.json").write_text(json.dumps(to_json(diagnosis), indent=1), encoding="utf-8")
    page = directory / "doctor.html"
    page.write_text(doctor_page(diagnosis), encoding="utf-8", errors="backslashreplace")
    return page


def _describe(split: SplitSummary) -> str:
    boxes = f", {split.num_boxes:,} boxes" if split.is_labelled else ", no labels"
    return f"{split.split}: {split.num_images:,} images{boxes} ({split.source})"


def to_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return all but the pictures, as JSON takes it."""
    return {
        "has_errors": diagnosis.has_errors,
        "verdicts": [verdict._asdict() for verdict in diagnosis.verdicts],
        "splits": [dataclasses.asdict(split) for split in diagnosis.splits],
        "problem_counts": diagnosis.problem_counts,
        "problems": [problem._asdict() for problem in diagnosis.problems],
        "max_distance": diagnosis.max_distance,
        "duplicates": [
            {
                "split": found.split,
                "evaluation_split": found.evaluation_split,
                "num_exact": found.num_exact,
                "num_near": found.num_near,
                "pairs": [pair._asdict() for pair in found.pairs],
            }
            for found in diagnosis.duplicates
        ],
    }
