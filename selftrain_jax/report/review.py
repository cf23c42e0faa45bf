"""What people changed in the pseudo labels, and what the student gained by it; call `review_section`."""

from collections.abc import Mapping

from selftrain_jax.html.blocks import Block, Cell, Note, Section, Table
from selftrain_jax.report.workdir import RunFiles, stage_points
from selftrain_jax.run_files.corrections import OUTCOMES, count_outcomes, reviewed_images
from selftrain_jax.run_files.variants import pick_value
from selftrain_jax.selftrain.corrections import error_rate, format_rate, sum_outcomes
from selftrain_jax.text import NO_VALUE, number

KEY = "pseudo.corrections"


def review_section(run: RunFiles, names: Mapping[int, str], key: str, label: str) -> list[Section]:
    """Show the corrections of a run's labels, none where nothing was reviewed.

    `key` is the metric of an evaluation that students are compared by, called `label`.
    """
    if not run.corrections:
        return []
    images = reviewed_images([stored.layer for stored in run.corrections])
    lead = f"{len(images):,} images were corrected by hand and count as human where a student uses them. "
    lead += "The error rate is of what was reviewed, with Wilson\u2019s 90 % interval: where images were "
    lead += "chosen, it is not that of all labels."
    blocks: list[Block] = [_outcomes(count_outcomes(images), names), _layers(run), *_gains(run, key, label)]
    return [Section("review", "Corrections", lead, blocks)]


def _outcomes(by_class: Mapping[int, Mapping[str, int]], names: Mapping[int, str]) -> Table:
    rows = [(names.get(class_id, str(class_id)), counts) for class_id, counts in by_class.items()]
    rows.append(("all classes", sum_outcomes(by_class)))
    return Table(
        ["", *OUTCOMES, "wrong of the teacher\u2019s"],
        [[name, *(f"{counts[outcome]:,}" for outcome in OUTCOMES), _rate(counts)] for name, counts in rows],
        strong_rows=[len(rows) - 1],
    )


def _rate(counts: Mapping[str, int]) -> str:
    rate = error_rate(counts)
    return NO_VALUE if rate is None else format_rate(rate)


def _layers(run: RunFiles) -> Table:
    rows: list[list[str | Cell]] = []
    for place, stored in enumerate(run.corrections, start=1):
        layer = stored.layer
        people = sorted({image.by for image in layer.images if image.by})
        words = [layer.format, ", ".join(people) or "not said", layer.imported]
        rows.append([f"layer {place}", f"{len(layer.images):,}", *(Cell(word, wraps=True) for word in words)])
    return Table(["", "images", "format", "by", "imported (UTC)"], rows)


def _gains(run: RunFiles, key: str, label: str) -> list[Note]:
    """Compare students that used corrections with the run's own, which did not."""
    if _uses_corrections(run):
        return []
    before = stage_points(run.stages["student"], key)
    notes = []
    for name, variant in run.variants.items():
        if _uses_corrections(variant):
            after = stage_points(variant.stages["student"], key)
            gain = number(after - before, signed=True)
            text = f"Student with corrections ({name}): {label} {number(after)}, without {number(before)}: "
            notes.append(Note(f"{text}{gain}."))
    return notes


def _uses_corrections(run: RunFiles) -> bool:
    return bool(run.config and pick_value(run.config, KEY))
