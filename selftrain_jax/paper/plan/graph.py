"""The stages behind the paper's rows, and what they share; call `build_graph`.

A stage is a frozen value of all that decides its result, its inputs among it. Two rows with equal stages
therefore have one stage, whatever table they are in.

    start -> teacher -> labels -> student -> search

A row ends in its teacher (supervised), its student, or a search over students (Table 9).
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from selftrain_jax.paper.recipe import find_recipe
from selftrain_jax.paper.row import Row

ALPHA_GRID = (0.25, 0.5, 1.0, 2.0, 3.0, 4.0)  # Paper: Table 9; configs/paper.py has the same
ALPHA = "alpha"  # the metric of the rows that are searches


@dataclass(frozen=True)
class Network:
    """What is trained."""

    task: str  # detection | segmentation
    backbone: str
    image_size_px: int


@dataclass(frozen=True)
class Start:
    """Published weights of a backbone; a random start is no stage."""

    backbone: str
    init: str  # imagenet | imagenet_pp | simclr


@dataclass(frozen=True)
class Teacher:
    """A network trained on human labels alone."""

    network: Network
    start: Start | None  # None: random
    augment: str | None  # None: SpineNet's own baseline
    labels: str
    steps: int
    joint_weight: float  # 0: no joint training
    seed: int


@dataclass(frozen=True)
class Labels:
    """A teacher's pseudo labels of one source of images."""

    teacher: Teacher
    source: str


@dataclass(frozen=True)
class Student:
    """A network trained on human and pseudo labels."""

    labels: Labels
    starts_from_teacher: bool  # else at random
    augment: str | None
    steps: int
    alpha: float
    loss_norm: str  # ema | plain
    rate_factor: float  # of the learning rate
    joint_weight: float


@dataclass(frozen=True)
class Search:
    """Students that differ in alpha alone, of which the one that is best on val counts."""

    students: tuple[Student, ...]


Stage = Start | Teacher | Labels | Student | Search
KINDS: tuple[type, ...] = (Start, Teacher, Labels, Student, Search)


class RowRun(NamedTuple):
    """The stage that a row's number is measured on, with one seed."""

    row: Row
    seed: int
    result: Stage


class Graph(NamedTuple):
    """The stages of some rows, each once and after its inputs."""

    runs: tuple[RowRun, ...]
    stages: tuple[Stage, ...]

    @property
    def edges(self) -> tuple[tuple[Stage, Stage], ...]:
        """Return the pairs (input, stage that takes it)."""
        return tuple((before, stage) for stage in self.stages for before in inputs_of(stage))

    def of_kind(self, kind: type) -> list[Stage]:
        """Return the stages of a class."""
        return [stage for stage in self.stages if isinstance(stage, kind)]

    @property
    def shared(self) -> list[Stage]:
        """Return the stages that more than one distinct result needs, a result of another's inputs too."""
        counts: dict[Stage, int] = {}
        for result in dict.fromkeys(run.result for run in self.runs):
            for stage in with_inputs(result):
                counts[stage] = counts.get(stage, 0) + 1
        return [stage for stage in self.stages if counts[stage] > 1]


def build_graph(rows: Iterable[Row], seeds: Sequence[int] = (0,)) -> Graph:
    """Return all stages behind rows, for each seed."""
    runs = tuple(RowRun(row, seed, find_result(row, seed)) for row in rows for seed in seeds)
    stages = dict.fromkeys(stage for run in runs for stage in with_inputs(run.result))
    return Graph(runs, tuple(sorted(stages, key=lambda stage: KINDS.index(type(stage)))))


def find_result(row: Row, seed: int = 0) -> Stage:
    """Return the stage that a row's number is measured on."""
    teacher = _teacher(row, seed)
    if not row.unlabeled:
        return teacher
    recipe = find_recipe(row)
    if recipe.student_steps is None or recipe.alpha is None:
        raise AssertionError(f"a student without steps or alpha: {row}")
    student = Student(
        labels=Labels(teacher, row.unlabeled),
        starts_from_teacher=row.student_init == "teacher",
        augment=row.augment,
        steps=recipe.student_steps,
        alpha=recipe.alpha,
        loss_norm=row.loss_norm,
        rate_factor=recipe.learning_rate_factor,
        joint_weight=row.joint_weight or 0.0,
    )
    if row.metric != ALPHA:
        return student
    return Search(tuple(dataclasses.replace(student, alpha=alpha) for alpha in ALPHA_GRID))


def _teacher(row: Row, seed: int) -> Teacher:
    """Return a row's teacher; of a supervised row it is the row's own model."""
    recipe = find_recipe(row)
    own = recipe.teacher
    return Teacher(
        network=Network(own.task, own.backbone, own.image_size_px),
        start=None if own.init == "rand" else Start(own.backbone, own.init),
        augment=own.augment,
        labels=own.labels,
        steps=recipe.teacher_steps,
        joint_weight=own.joint_weight or 0.0,
        seed=seed,
    )


def inputs_of(stage: Stage) -> tuple[Stage, ...]:
    """Return the stages that a stage takes directly, those with weights first."""
    match stage:
        case Start():
            return ()
        case Teacher(start=start):
            return () if start is None else (start,)
        case Labels(teacher=teacher):
            return (teacher,)
        case Student(labels=labels, starts_from_teacher=True):
            return (labels.teacher, labels)
        case Student(labels=labels):
            return (labels,)
        case Search(students=students):
            return students


def with_inputs(stage: Stage) -> list[Stage]:
    """Return a stage after all that it is made from, each once."""
    before = [earlier for own in inputs_of(stage) for earlier in with_inputs(own)]
    return list(dict.fromkeys([*before, stage]))


def network_of(stage: Stage) -> Network | None:
    """Return the network of a stage; None for a start, whose backbone may be in several."""
    match stage:
        case Start():
            return None
        case Teacher(network=network):
            return network
        case Labels(teacher=teacher):
            return teacher.network
        case Student(labels=labels):
            return labels.teacher.network
        case Search(students=students):
            return network_of(students[0])


def seed_of(stage: Stage) -> int | None:
    """Return a stage's seed; None for a start, which all seeds share."""
    match stage:
        case Start():
            return None
        case Teacher(seed=seed):
            return seed
        case Labels(teacher=teacher):
            return teacher.seed
        case Student(labels=labels):
            return labels.teacher.seed
        case Search(students=students):
            return seed_of(students[0])


def stage_id(stage: Stage) -> str:
    """Return a short name for files that is the same in every process: student-1f0c9a2b."""
    digest = hashlib.sha256(repr(stage).encode()).hexdigest()[:8]
    return f"{type(stage).__name__.lower()}-{digest}"
