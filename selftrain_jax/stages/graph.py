"""The stages of a run and what each takes from the others (Paper: Section 3.1; rounds: Section 2).

teacher -> labels -> student; with rounds the student is the next round's teacher. Controls and oracle
continue from the teacher without pseudo labels, for as many steps as all students together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from selftrain_jax.errors import InputError
from selftrain_jax.run_files.arms import COMPARED

LABELS_FOLDER = "pseudo_labels"
KINDS = ("teacher", "labels", *COMPARED, "student")
LABEL_MODELS = ("last", "all")  # what config.selftrain.label_models may be


@dataclass(frozen=True)
class Stage:
    """One stage. Of a control or an oracle `round` is the number of rounds that it is compared with."""

    kind: str  # one of KINDS
    round: int = 1

    @property
    def folder(self) -> str:
        """Where it lies, from the run's folder on; as a name it also stands in logs and messages."""
        name = LABELS_FOLDER if self.kind == "labels" else self.kind
        return name if self.round == 1 else f"round_{self.round}/{name}"


TEACHER = Stage("teacher")


def teacher_of(stage: Stage) -> Stage:
    """Return whose weights a stage labels with or continues from."""
    if stage.kind in COMPARED or stage.round == 1:
        return TEACHER
    return Stage("student", stage.round - 1)


def labellers_of(stage: Stage, label_models: str) -> list[Stage]:
    """Return whose weights a round's labels are made with, its teacher last.

    With `label_models` "all" these are the teacher and every student so far, with "last" that teacher alone.

    Raises:
        InputError: config.selftrain.label_models is neither.
    """
    if label_models not in LABEL_MODELS:
        raise InputError(
            f"config.selftrain.label_models={label_models!r} is not one of {', '.join(LABEL_MODELS)}"
        )
    if label_models == "last":
        return [teacher_of(stage)]
    return [TEACHER, *(Stage("student", round) for round in range(1, stage.round))]


def stages_in_order(rounds: int, *, compared: Sequence[str], has_students: bool) -> list[Stage]:
    """List a run's stages as they are run, if no round is left out; `compared` are kinds of `COMPARED`.

    With one round those come before the student; with more, how many rounds there are is known only after the
    last one, and so are the steps of what is compared.
    """
    others = [Stage(kind, rounds) for kind in compared]
    students = [Stage(kind, round) for round in range(1, rounds + 1) for kind in ("labels", "student")]
    if not has_students:
        return [TEACHER, *others]
    if rounds == 1:
        return [TEACHER, students[0], *others, students[1]]
    return [TEACHER, *students, *others]


def stages_after(stage: Stage, stages: list[Stage]) -> list[Stage]:
    """Return those of `stages` whose inputs come from a stage, at first or second hand."""
    if stage.kind in COMPARED:
        return []
    later = [other for other in stages if other.kind in ("labels", "student")]
    if stage.kind == "teacher":
        return [other for other in stages if other != stage]
    position = (stage.round, stage.kind == "student")
    return [other for other in later if (other.round, other.kind == "student") > position]
