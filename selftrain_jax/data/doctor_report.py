"""Show a diagnosis: `format_diagnosis` for the terminal, `write_doctor_report` for doctor.json and doctor.html."""

import base64
import dataclasses
import html
import json
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from selftrain_jax.data.diagnosis import Diagnosis, Picture, SplitSummary, Verdict

LISTED = 5  # in the terminal
MAX_LISTED = 200  # on the page; doctor.json has all
SIGNS = {"ok": "ok     ", "warning": "WARNING", "error": "ERROR  "}


def format_diagnosis(diagnosis: Diagnosis) -> str:
    """Write the splits, the verdicts with their remedies and the first problems, for a terminal."""
    lines = ["Splits", *(f"  {_describe(split)}" for split in diagnosis.splits), "", "Verdicts"]
    for verdict in diagnosis.verdicts:
        lines.append(f"  {SIGNS[verdict.level]} {verdict.finding}")
        lines += [f"          -> {verdict.remedy}"] if verdict.remedy else []
    messages = [f"{problem.where}: {problem.message} [{problem.kind}]" for problem in diagnosis.problems]
    messages += [message for split in diagnosis.splits for message in split.unreadable]
    if messages:
        lines += ["", f"First problems of {len(messages):,}", *(f"  {message}" for message in messages[:LISTED])]
    levels = [verdict.level for verdict in diagnosis.verdicts]
    lines += ["", f"{levels.count('error')} errors, {levels.count('warning')} warnings"]
    return "\n".join(lines)


def write_doctor_report(diagnosis: Diagnosis, directory: str | os.PathLike) -> pathlib.Path:
    """Write doctor.json (all but the pictures) and doctor.html (one file, no network); return the page."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "doctor.json").write_text(json.dumps(_to_json(diagnosis), indent=1))
    page = directory / "doctor.html"
    page.write_text(_page(diagnosis), encoding="utf-8")
    return page


def _describe(split: SplitSummary) -> str:
    boxes = f", {split.num_boxes:,} boxes" if split.is_labelled else ", no labels"
    return f"{split.split}: {split.num_images:,} images{boxes} ({split.source})"


def _to_json(diagnosis: Diagnosis) -> dict[str, Any]:
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


def _page(diagnosis: Diagnosis) -> str:
    title = "This data has errors" if diagnosis.has_errors else "This data can be trained on"
    problems = [[problem.kind, problem.where, problem.message] for problem in diagnosis.problems]
    unreadable = [[split.split, message] for split in diagnosis.splits for message in split.unreadable]
    sections = [
        _section("Verdicts", "".join(map(_verdict_html, diagnosis.verdicts))),
        _section("Splits", _table(*_splits_table(diagnosis.splits))),
        _section("Boxes by class", _table(*_classes_table(diagnosis.splits), bar_columns=True)),
        _section("Problem boxes", _pictures_html(diagnosis.problem_pictures)),
        _section("Problems", _table(["kind", "where", "what"], problems)),
        _section("Images that do not decode", _table(["split", "what"], unreadable)),
        _section("Duplicates", _pictures_html(diagnosis.duplicate_pictures)),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Data doctor</title><style>{_STYLE}</style></head>"
        f"<body><p>Data doctor</p><h1>{title}</h1>{''.join(sections)}</body></html>"
    )


def _section(title: str, body_html: str) -> str:
    return f"<section><h2>{title}</h2>{body_html}</section>" if body_html else ""


def _verdict_html(verdict: Verdict) -> str:
    remedy = f"<span>{html.escape(verdict.remedy)}</span>" if verdict.remedy else ""
    return f'<div class="verdict {verdict.level}"><b>{verdict.level}</b><div>{html.escape(verdict.finding)}{remedy}</div></div>'


def _splits_table(splits: Sequence[SplitSummary]) -> tuple[list[str], list[list[str]]]:
    rows = [
        ["images", *(f"{split.num_images:,}" for split in splits)],
        ["examined", *(f"{split.num_examined:,}" for split in splits)],
        ["do not decode", *(f"{len(split.unreadable):,}" for split in splits)],
        ["image sizes, width x height", *(_first_of(split.image_sizes) for split in splits)],
        ["boxes", *(f"{split.num_boxes:,}" if split.is_labelled else "" for split in splits)],
        ["crowds or difficult", *(f"{split.num_crowd:,}" if split.is_labelled else "" for split in splits)],
        ["images without a box", *(f"{split.num_images_without_boxes:,}" if split.is_labelled else "" for split in splits)],
        ["boxes an image", *(_boxes_an_image(split) for split in splits)],
        ["boxes small, medium, large", *(", ".join(f"{count:,}" for count in split.box_areas.values()) for split in splits)],
        ["side of boxes in px: least, quartiles, greatest", *(", ".join(f"{side:g}" for side in split.box_side_px) for split in splits)],
    ]
    return ["", *(f"{split.split} ({split.source})" for split in splits)], rows


def _first_of(counts: Any) -> str:
    shown = [f"{key}: {count:,}" for key, count in list(counts.items())[:LISTED]]
    more = len(counts) - LISTED
    return ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")


def _boxes_an_image(split: SplitSummary) -> str:
    if not split.boxes_per_image:
        return ""
    mean = sum(boxes * images for boxes, images in split.boxes_per_image.items()) / sum(split.boxes_per_image.values())
    return f"{mean:.1f} on average, up to {max(split.boxes_per_image)}"


def _classes_table(splits: Sequence[SplitSummary]) -> tuple[list[str], list[list[str]]]:
    labelled = [split for split in splits if split.is_labelled]
    names = list(dict.fromkeys(name for split in labelled for name in split.class_counts))
    rows = [[name, *(f"{split.class_counts.get(name, 0):,}" for split in labelled)] for name in names]
    return ["class", *(split.split for split in labelled)], rows


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], bar_columns: bool = False) -> str:
    """Make a table, with bars behind the numbers of each column where wanted; nothing without rows."""
    if not rows:
        return ""
    shown = rows[:MAX_LISTED]
    largest = [max(_value(row[column]) for row in rows) if bar_columns else 0 for column in range(len(header))]
    body = "".join(
        f"<tr>{''.join(_cell(cell, most) for cell, most in zip(row, largest, strict=True))}</tr>" for row in shown
    )
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    more = f"<p>and {len(rows) - MAX_LISTED:,} more, in doctor.json</p>" if len(rows) > MAX_LISTED else ""
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{more}'
