"""Show a diagnosis: `verdict_lines` for the terminal, `write_diagnosis` for doctor.html and doctor.json."""

import dataclasses
import datetime
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from selftrain_jax.data.source import Source
from selftrain_jax.doctor.duplicates import Duplicates
from selftrain_jax.doctor.examine import Diagnosis
from selftrain_jax.html.blocks import Badge, Block, Cell, Findings, Note, Page, Section, Table
from selftrain_jax.html.galleries import Gallery, Picture, fit_side
from selftrain_jax.html.render import write_page
from selftrain_jax.io import write_json
from selftrain_jax.text import number

LISTED = 5  # problems in the terminal
MAX_ROWS = 200  # of a table; doctor.json has all
MAX_PICTURES = 24
SIDE_PX = 240
SIGNS = {"ok": "ok     ", "warning": "WARNING", "error": "ERROR  "}


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


def write_diagnosis(
    directory: Path,
    diagnosis: Diagnosis,
    sections: Iterable[Section],
    sources: Mapping[str, Source],
    document: Mapping[str, Any],
) -> Path:
    """Write doctor.json (`document`) and doctor.html, one file that loads nothing; return the page.

    The page says whether to go on, lists the verdicts, then shows the sections of the task, then what is
    wrong. Sections without content are left out. The few images that it shows are read again from `sources`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    write_json(directory / "doctor.json", document)
    verdicts = Section("verdicts", "Verdicts", "", [Findings(diagnosis.verdicts)])
    shown = [verdicts, *sections, *_fault_sections(diagnosis, sources)]
    page = Page(
        origin=f"Data doctor, written {datetime.datetime.now():%Y-%m-%d %H:%M}",
        headline="This data has errors" if diagnosis.has_errors else "This data can be trained on",
        badges=_badges(diagnosis),
        sections=[section for section in shown if section.blocks],
    )
    return write_page(directory / "doctor.html", page)


def to_json(diagnosis: Diagnosis, splits: Iterable[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return the diagnosis as JSON takes it; `splits` are what the task adds to each split."""
    added = list(splits) or [{}] * len(diagnosis.splits)
    summaries = map(dataclasses.asdict, diagnosis.splits)
    return {
        "has_errors": diagnosis.has_errors,
        "verdicts": [verdict._asdict() for verdict in diagnosis.verdicts],
        "splits": [{**split, **more} for split, more in zip(summaries, added, strict=True)],
        "problem_counts": diagnosis.problem_counts,
        "problems": [problem._asdict() for problem in diagnosis.problems],
        "max_distance": diagnosis.max_distance,
        "duplicates": [
            {
                "split": comparison.split,
                "evaluation_split": comparison.evaluation_split,
                "num_exact": comparison.num_exact,
                "num_near": comparison.num_near,
                "pairs": [pair._asdict() for pair in comparison.pairs],
            }
            for comparison in diagnosis.duplicates
        ],
    }


def words_table(header: Sequence[str], rows: Sequence[Sequence[str | Cell]]) -> list[Block]:
    """Make a table of words, cut where it is too long for a page; nothing without rows."""
    left = len(rows) - MAX_ROWS
    more = [Note(f"{left:,} more are in doctor.json.")] if left > 0 else []
    return [Table(header, rows[:MAX_ROWS], style="words"), *more] if rows else []


def bar(count: int, most: int, text: str = "") -> Cell:
    """Make a cell with a bar, as long as the count beside the greatest one; it says the count."""
    return Cell(text or f"{count:,}", share=count / most if most else 0.0, is_empty=not count)


def gallery(rows: Sequence[Sequence[Picture]]) -> list[Block]:
    """Show rows of small pictures, nothing without pictures."""
    return [Gallery("", "", "pairs" if len(rows[0]) > 1 else "tiles", rows)] if rows else []


def thumbnail(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Shrink (or enlarge) an image to SIDE_PX."""
    return fit_side(image, SIDE_PX)


def picture_duplicates(
    duplicates: Sequence[Duplicates], sources: Mapping[str, Source]
) -> list[list[Picture]]:
    """Show the first pairs of every comparison side by side."""
    indices = {
        name: {image_id: index for index, image_id in enumerate(source.image_ids)}
        for name, source in sources.items()
    }
    concerned = [comparison for comparison in duplicates if comparison.pairs]

    def picture(name: str, image_id: str, words: str = "") -> Picture:
        caption = f"{name} {image_id}{words}"
        return Picture(thumbnail(sources[name].read_image(indices[name][image_id])), caption, caption)

    rows = []
    for comparison in concerned:
        for pair in comparison.pairs[: max(4, MAX_PICTURES // len(concerned))]:
            how = ", equal" if pair.is_exact else f", alike ({pair.distance} of 64 bits differ)"
            evaluated = picture(comparison.evaluation_split, pair.evaluation_image_id, how)
            rows.append([picture(comparison.split, pair.image_id), evaluated])
    return rows


def _badges(diagnosis: Diagnosis) -> list[Badge]:
    levels = [verdict.level for verdict in diagnosis.verdicts]
    counts = [
        Badge(f"{level.capitalize()}s", number(levels.count(level), 0), level if level in levels else "rule")
        for level in ("error", "warning")
    ]
    return counts + [
        Badge(split.split.capitalize(), f"{split.num_images:,} images", "teacher")
        for split in diagnosis.splits
    ]


def _fault_sections(diagnosis: Diagnosis, sources: Mapping[str, Source]) -> list[Section]:
    """List the problems, the images that do not decode, and the images that are there twice."""
    problems = [(problem.kind, problem.where, problem.message) for problem in diagnosis.problems]
    unreadable = [(split.split, message) for split in diagnosis.splits for message in split.unreadable]
    lead = "On the right the image to evaluate on, on the left the one that it repeats."
    return [
        Section("problems", "Problems", "", words_table(("kind", "where", "what"), problems)),
        Section("unreadable", "Images that do not decode", "", words_table(("split", "what"), unreadable)),
        Section("duplicates", "Duplicates", lead, gallery(picture_duplicates(diagnosis.duplicates, sources))),
    ]
