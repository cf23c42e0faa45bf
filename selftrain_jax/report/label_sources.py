"""Whose labels taught the students: the teacher's, other models', or both, in one table.

Call `label_sources_section`; it has something to say once a run or one of its variants has foreign labels.
"""

from selftrain_jax.html.blocks import Cell, Section, Table
from selftrain_jax.report.variants import label_point
from selftrain_jax.report.workdir import RunFiles, counted_control, stage_points
from selftrain_jax.run_files.manifest import labelled_by
from selftrain_jax.run_files.variants import BASE
from selftrain_jax.text import number

LEAD = (
    "The same run with labels of the teacher, of other models, and of both merged. Precision and recall are "
    "of the labels at each run's threshold, where the truth is known; a student that does well against its "
    "labels can do badly against the truth, so its score on the test images is what counts."
)
HEADER = ("", "labels of", "images", "labels", "precision", "recall")


def has_foreign_labels(run: RunFiles) -> bool:
    """Tell whether the labels of a run or of one of its variants come from other models."""
    return any(labelled_by(own.manifest) for own in (run, *run.variants.values()) if own.manifest)


def label_sources_section(run: RunFiles, key: str, label: str) -> Section:
    """List the base and its variants by whose labels they have, the teacher's first."""
    runs = [(BASE, run), *run.variants.items()]
    labelled = [(name, own) for name, own in runs if own.manifest is not None]
    labelled.sort(key=lambda entry: (_rank(entry[1]), entry[0] != BASE))
    rows = [_row(name, own, key) for name, own in labelled]
    header = [*HEADER, f"student\u2019s {label}", "over control", "over teacher"]
    return Section("label-sources", "Whose labels", LEAD, [Table(header, rows)])


def _rank(run: RunFiles) -> int:
    """Put labels of the teacher first, then those of other models, then those of both."""
    names = labelled_by(run.manifest) if run.manifest else ()
    return 0 if not names else 2 if "teacher" in names else 1


def _row(name: str, run: RunFiles, key: str) -> list[str | Cell]:
    assert run.manifest is not None
    reached = stage_points(run.stages["student"], key)
    recall, precision = label_point(run)
    gains = [
        number(reached - stage_points(run.stages[other], key), signed=True)
        for other in (counted_control(run, key), "teacher")
    ]
    return [
        name,
        Cell(", ".join(labelled_by(run.manifest) or ("teacher",)), wraps=True),
        f"{run.manifest.num_images:,}",
        f"{run.manifest.labels.num_kept:,}",
        number(precision, 3),
        number(recall, 3),
        number(reached),
        *gains,
    ]
