"""The order of stages, where they lie, and what comes after what."""

import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.stages.graph import (
    TEACHER,
    Stage,
    labellers_of,
    stages_after,
    stages_in_order,
    teacher_of,
)


def folders(stages: list[Stage]) -> list[str]:
    return [stage.folder for stage in stages]


def test_one_round_is_the_papers() -> None:
    stages = stages_in_order(1, compared=["control"], has_students=True)
    assert folders(stages) == ["teacher", "pseudo_labels", "control", "student"]


def test_what_is_compared_comes_before_the_student() -> None:
    stages = stages_in_order(1, compared=["control", "control_half", "oracle"], has_students=True)
    assert folders(stages) == [
        *("teacher", "pseudo_labels", "control", "control_half", "oracle", "student"),
    ]


def test_a_supervised_run_has_no_student() -> None:
    stages = stages_in_order(1, compared=[], has_students=False)
    assert folders(stages) == ["teacher"]


def test_later_rounds_have_folders_and_the_control_comes_last() -> None:
    stages = stages_in_order(3, compared=["control", "oracle"], has_students=True)
    assert folders(stages) == [
        "teacher",
        "pseudo_labels",
        "student",
        "round_2/pseudo_labels",
        "round_2/student",
        "round_3/pseudo_labels",
        "round_3/student",
        "round_3/control",
        "round_3/oracle",
    ]


def test_the_student_is_the_next_rounds_teacher() -> None:
    assert teacher_of(Stage("labels", 1)) == TEACHER
    assert teacher_of(Stage("student", 1)) == TEACHER
    assert teacher_of(Stage("labels", 3)) == Stage("student", 2)
    assert teacher_of(Stage("student", 3)) == Stage("student", 2)
    for kind in ("control", "control_half", "oracle"):
        assert teacher_of(Stage(kind, 3)) == TEACHER


def test_all_models_so_far_may_label_a_round_its_teacher_last() -> None:
    for round in (1, 2, 3):
        labels = Stage("labels", round)
        assert labellers_of(labels, "last") == [teacher_of(labels)]
        assert labellers_of(labels, "all")[-1] == teacher_of(labels)
    assert folders(labellers_of(Stage("labels", 1), "all")) == ["teacher"]
    assert folders(labellers_of(Stage("labels", 3), "all")) == ["teacher", "student", "round_2/student"]
    with pytest.raises(InputError, match="label_models='best' is not one of last, all"):
        labellers_of(Stage("labels", 3), "best")


def test_what_goes_stale_with_a_stage() -> None:
    stages = stages_in_order(2, compared=["control", "oracle"], has_students=True)
    assert folders(stages_after(TEACHER, stages)) == folders(stages[1:])
    assert folders(stages_after(Stage("labels"), stages)) == [
        "student",
        "round_2/pseudo_labels",
        "round_2/student",
    ]
    assert folders(stages_after(Stage("student"), stages)) == ["round_2/pseudo_labels", "round_2/student"]
    assert stages_after(Stage("control", 2), stages) == stages_after(Stage("oracle", 2), stages) == []
    assert stages_after(Stage("student", 2), stages) == []
