"""The run behind a row: what the row leaves to other rows, or to nobody (Paper: Appendix H).

Call `find_recipe`. A supervised row is the teacher alone. A self-training row is a student after the teacher
of the supervised row that the paper compares it with: same backbone, policy, labels and initialisation, in
the same table if it is there, else in the first that has it. SpineNet's teachers are its baselines, which
have no policy. Joint training belongs to the last model of a run: to the teacher of a supervised row, to the
student of a self-training row, whose teacher is the plain supervised one. Of VOC's train+val the paper has
the student alone; its teacher is taken to be the one of train, trained on train+val.
"""

from collections.abc import Iterable
from typing import NamedTuple

from selftrain_jax.paper.row import Row
from selftrain_jax.paper.rows import ROWS, TABLES

LARGER_RATE_FACTOR = 2.0  # Figure 2 does not give its larger learning rate
SHORTEST_STEPS = 5_625  # of the detection runs in Appendix H
_PLACE = ("table", "row", "setup", "metric", "value", "note")  # where a number stands, not what was run
_RUN = tuple(name for name in Row._fields if name not in (*_PLACE, "steps", "alpha"))


class Recipe(NamedTuple):
    """A run of one or two models. `student_steps` and `alpha` are None where only the teacher is trained."""

    teacher: Row  # the supervised row; the row itself where that is supervised; see `find_teacher`
    teacher_steps: int
    student_steps: int | None
    alpha: float | None
    learning_rate_factor: float  # of the student's learning rate
    joint_stage: str  # teacher | student; "" without joint training
    assumed: tuple[str, ...]  # what the paper does not say and was chosen here


def find_recipe(row: Row) -> Recipe:
    """Return the run behind a row."""
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
    """Return the supervised row that a row starts from; a supervised row starts from itself.

    Where the paper has none of the row's labels it is one of other labels with these, and without a value.
    """
    if not row.unlabeled:
        return row
    fields = ("task", "backbone", "init", "image_size_px")
    found = [
        other
        for other in ROWS
        if not other.unlabeled
        and other.joint_weight is None
        and other.augment in (row.augment, None)
        and _alike(other, row, fields)
    ]
    nearest = min(found, key=lambda other: (other.labels != row.labels, *_distance(other, row)))
    if nearest.labels == row.labels:
        return nearest
    return nearest._replace(row=0, labels=row.labels, metric=row.metric, value=None)


def find_steps(row: Row) -> tuple[int, tuple[str, ...]]:
    """Return a row's steps, those of the same run elsewhere, or for a supervised row an estimate, and say so.

    estimate = steps(S4, init, labels) · steps(policy, 100 %) / steps(S4, 100 %), not below 5,625: Table 2
    gives the ratio (ImageNet's for ImageNet++), Table 3 the rest; all its 100 % values are Table 2's.
    Segmentation: the steps of the other rows of the backbone, which are all the same.
    """
    same = [other.steps for other in _same_runs(row) if other.steps is not None]
    if row.steps is not None or same:
        return row.steps or same[0], ()
    if row.task == "segmentation":
        known = [o.steps for o in ROWS if o.steps is not None and _alike(o, row, ("task", "backbone"))]
        return known[0], (f"teacher.steps: {known[0]}, as all rows of {row.backbone} on VOC that say it",)
    like = row._replace(init="imagenet" if row.init == "imagenet_pp" else row.init, labels="100%")
    long, _ = find_steps(row._replace(augment="S4"))
    part, _ = find_steps(like)
    whole, _ = find_steps(like._replace(augment="S4"))
    steps = max(SHORTEST_STEPS, round(long * part / whole))
    return steps, (f"teacher.steps: S4's {long} times {part}/{whole}, at least {SHORTEST_STEPS}",)


def find_alpha(row: Row) -> tuple[float, tuple[str, ...]]:
    """Return a row's alpha, that of the same run elsewhere, or that of the student from the teacher."""
    if row.alpha is not None:
        return row.alpha, ()
    same = [other.alpha for other in _same_runs(row) if other.alpha is not None]
    if same:
        return same[0], ()
    alpha, assumed = find_alpha(row._replace(student_init="teacher"))
    return alpha, (*assumed, "alpha: as of the student that starts from the teacher")


def _same_runs(row: Row) -> Iterable[Row]:
    """Return the tables' rows of the same run; a figure's differ in alpha and steps."""
    return (other for other in ROWS if other.table.isdigit() and _alike(other, row, _RUN))


def _distance(other: Row, row: Row) -> tuple[bool, bool, int]:
    return other.table != row.table, other.metric != row.metric, TABLES.index(other.table)


def _alike(one: Row, other: Row, fields: Iterable[str]) -> bool:
    return all(getattr(one, field) == getattr(other, field) for field in fields)
