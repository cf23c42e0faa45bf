"""The command of each kind of stage, by hand."""

import pytest

from configs import paper
from selftrain_jax.errors import InputError
from selftrain_jax.paper.plan.graph import Labels, Search, Start, Student, Teacher, build_graph, find_result
from selftrain_jax.paper.rows import ROWS, rows
from selftrain_jax.paper.run.commands import (
    check_flags,
    command_of,
    find_carrier,
    find_own_row,
    list_stages,
    needs_of,
)
from selftrain_jax.pretrain.catalogue import find_start
from selftrain_jax.stages.settings import deciding_settings
from tests.paper.run.fakes import graph_of


def lines_of(*rows: tuple[str, int], flags: tuple[str, ...] = ()) -> list[str]:
    graph = graph_of(*rows)
    return [
        " ".join(command_of(stage, graph, "R", flags).arguments).replace("configs/paper.py:", "")
        for stage in list_stages(graph.runs)
    ]


def test_a_self_training_row_is_teacher_labels_student() -> None:
    """Table 3, row 5: from a random start; its teacher is row 2 of the same labels, here of Table 3."""
    assert lines_of(("3", 2), ("3", 5), flags=("--config.data.dir=D",)) == [
        "--config=table=3,row=2,seed=0 --workdir=R/teacher-08d2bf20 --config.data.dir=D",
        "--config=table=3,row=5,seed=0 --workdir=R/labels-7029ee18 --job=pseudo_label "
        "--from_run=R/teacher-08d2bf20 --config.data.dir=D",
        "--config=table=3,row=5,seed=0 --workdir=R/student-8b4c8106 --from_run=R/labels-7029ee18 "
        "--config.data.dir=D",
    ]


def test_a_teacher_is_the_run_of_its_own_row_also_where_that_was_not_selected() -> None:
    teacher = lines_of(("3", 5))[0]
    assert teacher == "--config=table=3,row=2,seed=0 --workdir=R/teacher-08d2bf20"


def test_a_teacher_starts_from_imported_weights() -> None:
    assert lines_of(("3", 8)) == [
        "--config=table=3,row=8,seed=0 --workdir=R/start-3cd50264 --job=import_weights "
        "--config.import_weights.name=efficientnet-b7-autoaugment",
        "--config=table=3,row=8,seed=0 --workdir=R/teacher-6f96f7e0 --config.teacher.init=R/start-3cd50264",
    ]


def test_a_search_trains_its_students_itself() -> None:
    kinds = [line.partition("R/")[2].partition("-")[0] for line in lines_of(("9", 1))]
    assert kinds == ["teacher", "labels", "search"]
    assert " --job=search --from_run=R/labels-" in lines_of(("9", 1))[-1]


def test_a_teacher_that_no_row_is_measured_on_is_trained_alone() -> None:
    """Table 6's student on train+val, whose teacher the paper does not have."""
    graph = build_graph(rows("6"))
    teachers = [stage for stage in graph.of_kind(Teacher) if isinstance(stage, Teacher)]
    (alone,) = [stage for stage in teachers if find_own_row(stage) is None]
    assert alone.labels == "train+val"
    options = command_of(alone, graph, "R").options
    assert options[:2] == ("--job=train", "--stage=teacher")


def test_needs_come_first_and_every_result_of_the_paper_has_a_command() -> None:
    graph = build_graph(ROWS)
    stages = list_stages(graph.runs)
    position = {stage: number for number, stage in enumerate(stages)}
    assert {run.result for run in graph.runs} <= set(stages)
    assert all(position[own] < position[stage] for stage in stages for own in needs_of(stage))
    left_out = set(graph.stages) - set(stages)  # students of searches alone, as the plan has them
    assert len(left_out) == 14
    assert all(isinstance(stage, Student) for stage in left_out)


def test_every_start_of_the_paper_is_published() -> None:
    starts = build_graph(ROWS).of_kind(Start)
    assert all(isinstance(own, Start) and find_start(own.backbone, own.init) for own in starts)


def test_a_stage_is_what_its_row_measures() -> None:
    graph = build_graph([*rows("3"), *rows("9")])
    for stage in list_stages(graph.runs):
        row, seed = find_carrier(stage, graph)
        result = find_result(row, seed)
        if isinstance(stage, Student | Search) or (isinstance(stage, Teacher) and find_own_row(stage)):
            assert result == stage
        else:
            assert isinstance(stage, Start | Labels | Teacher)


def test_the_seed_reaches_the_config() -> None:
    graph = graph_of(("3", 2), seeds=(4,))
    (stage,) = list_stages(graph.runs)
    assert command_of(stage, graph, "R").config == "configs/paper.py:table=3,row=2,seed=4"


def test_another_scale_maps_the_same_graph_to_other_configs() -> None:
    graph = graph_of(("3", 2))
    (stage,) = list_stages(graph.runs)
    command = command_of(stage, graph, "R", config_of=lambda row, seed: f"small.py:row={row.row}")
    assert command.arguments[0] == "--config=small.py:row=2"


@pytest.mark.parametrize("table", ["3", "5", "7", "8"])
def test_the_config_of_a_students_row_has_the_teacher_of_the_supervised_row(table: str) -> None:
    """So that labels are made by the teacher that the student's row would have trained itself."""
    students = [own for row in rows(table) if isinstance(own := find_result(row), Student)]
    carriers = [row for row in rows(table) if row.unlabeled]
    assert students
    for row, student in zip(carriers, students, strict=True):
        own = find_own_row(student.labels.teacher)
        assert own is not None
        pair = [paper.get_config(f"table={other.table},row={other.row}") for other in (row, own)]
        settings = [deciding_settings(config, "teacher") for config in pair]
        assert settings[0] == settings[1]


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--workdir=x", "--workdir after -- is set by every stage's own command"),
        ("--job=train", "--job after --"),
        ("config.a=1", "expected flags"),
    ],
)
def test_flags_that_a_stage_sets_are_refused(flag: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_flags(["--config.data.dir=D", flag])
