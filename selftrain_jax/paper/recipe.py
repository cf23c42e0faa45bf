"""The run of a row: its teacher, steps, alpha and what the paper does not give; call `find_recipe`.

The run of a supervised row trains only a teacher. The teacher of a self-training row is that of the
supervised row with which the paper compares it: same backbone, policy, labels and initialisation, in the same
table if it is there, else in the first table that has it. SpineNet's teachers are its baselines.
Joint training applies to the last model of a run: the teacher of a supervised row, or the student of a
self-training row, whose teacher is trained without it. For VOC's train+val the paper has only the student; we
take the teacher of train and train it on train+val.
"""

from collections.abc import Iterable
from typing import NamedTuple

from selftrain_jax.paper.row import Row
from selftrain_jax.paper.rows import ROWS, TABLES

LARGER_RATE_FACTOR = 2.0  # Figure 2 does not give the larger learning rate
MIN_STEPS = 5_625  # of the detection runs in appendix H
_REPORT_FIELDS = ("table", "row", "setup", "metric", "value", "note")
_RUN_FIELDS = tuple(name for name in Row._fields if name not in (*_REPORT_FIELDS, "steps", "alpha"))


class Recipe(NamedTuple):
    """A run of one or two models; `student_steps` and `alpha` are None if only a teacher is trained."""

    teacher: Row  # the supervised row, see `find_teacher`
    teacher_steps: int
    student_steps: int | None
    alpha: float | None
    learning_rate_factor: float  # of the student's learning rate
    joint_stage: str  # teacher | student; "" without joint training
    assumed: tuple[str, ...]  # what the paper does not give and we chose


def find_recipe(row: Row) -> Recipe:
    """Return the run of a row."""
    teacher = find_teacher(row)
    teacher_steps, assumed = find_steps(teacher)
    if teacher != row and teacher not in ROWS:
        assumed += (f"teacher: as the one on train, trained on {teacher.labels}; the paper does not have it",)
    joint_stage = "" if row.joint_weight is None else ("student" if row.unlabeled else "teacher")
    if not row.unlabeled:
        return Recipe(teacher, teacher_steps, None, None, 1.0, joint_stage, assumed)
    alpha, assumed_alpha = find_alpha(row)
    factor = LARGER_RATE_FACTOR if row.larger_rate else 1.0
    assumed += assumed_alpha
    if row.larger_rate:
        assumed += (f"learning rate of the student: the usual one times {factor:g}",)
    return Recipe(teacher, teacher_steps, find_steps(row)[0], alpha, factor, joint_stage, assumed)


def find_teacher(row: Row) -> Row:
    """Return the supervised row of a row's teacher; for a supervised row, the row itself.

    If the paper has none with the row's labels, return one with the labels replaced and without a value.
    """
    if not row.unlabeled:
        return row
    fields = ("task", "backbone", "init", "image_size_px")
    candidates = [
        other
        for other in ROWS
        if not other.unlabeled
        and other.joint_weight is None
        and other.augment in (row.augment, None)
        and _agree(other, row, fields)
    ]
    nearest = min(candidates, key=lambda other: (other.labels != row.labels, *_distance(other, row)))
    if nearest.labels == row.labels:
        return nearest
    return nearest._replace(row=0, labels=row.labels, metric=row.metric, value=None)


def find_steps(row: Row) -> tuple[int, tuple[str, ...]]:
    """Return a row's steps, and the assumptions behind them.

    They are those of the row, or of the same run in another table, or for a supervised row an estimate:
    steps(S4, init, labels) · steps(policy, 100 %) / steps(S4, 100 %), at least 5,625. Table 2 gives the ratio
    (ImageNet's also for ImageNet++), Table 3 the rest. For the splits of VOC they are the steps of the other
    rows with the same backbone, which are all equal.
    """
    same = [other.steps for other in _same_runs(row) if other.steps is not None]
    if row.steps is not None or same:
        return row.steps or same[0], ()
    if not row.labels.endswith("%"):  # a split of VOC
        known = [o.steps for o in ROWS if o.steps is not None and _agree(o, row, ("task", "backbone"))]
        return known[0], (f"teacher.steps: {known[0]}, as all rows of {row.backbone} on VOC that say it",)
    full = row._replace(init="imagenet" if row.init == "imagenet_pp" else row.init, labels="100%")
    s4_steps, _ = find_steps(row._replace(augment="S4"))
    full_steps, _ = find_steps(full)
    full_s4_steps, _ = find_steps(full._replace(augment="S4"))
    steps = max(MIN_STEPS, round(s4_steps * full_steps / full_s4_steps))
    return steps, (
        f"teacher.steps: S4's {s4_steps} times {full_steps}/{full_s4_steps}, at least {MIN_STEPS}",
    )


def find_alpha(row: Row) -> tuple[float, tuple[str, ...]]:
    """Return the alpha of the row, of the same run in another table, or of the student from the teacher."""
    if row.alpha is not None:
        return row.alpha, ()
    same = [other.alpha for other in _same_runs(row) if other.alpha is not None]
    if same:
        return same[0], ()
    alpha, assumed = find_alpha(row._replace(student_init="teacher"))
    return alpha, (*assumed, "alpha: as of the student that starts from the teacher")


def _same_runs(row: Row) -> Iterable[Row]:
    """Return the rows of tables with the same run; those of figures differ in alpha and steps."""
    return (other for other in ROWS if other.table.isdigit() and _agree(other, row, _RUN_FIELDS))


def _distance(other: Row, row: Row) -> tuple[bool, bool, int]:
    return other.table != row.table, other.metric != row.metric, TABLES.index(other.table)


def _agree(one: Row, other: Row, fields: Iterable[str]) -> bool:
    return all(getattr(one, field) == getattr(other, field) for field in fields)
