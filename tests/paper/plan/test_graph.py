"""The graph of stages: what rows share, counted by hand from the paper's tables."""

import collections
import graphlib
import subprocess
import sys

import pytest

from configs.paper import ALPHA_GRID as CONFIG_GRID
from selftrain_jax.paper.plan.graph import (
    ALPHA_GRID,
    Graph,
    Labels,
    Search,
    Start,
    Student,
    Teacher,
    build_graph,
    find_result,
    inputs_of,
    seed_of,
    stage_id,
)
from selftrain_jax.paper.rows import ROWS, find_row, rows


def counts(graph: Graph) -> dict[str, int]:
    return dict(collections.Counter(type(stage).__name__ for stage in graph.stages))


def test_table_3_has_nine_teachers_for_eighteen_rows() -> None:
    # Three starts (random is none) with 20, 50 and 100 %: nine supervised rows, each the teacher of the
    # self-training row below it, with labels of its own.
    graph = build_graph(rows("3"))
    assert counts(graph) == {"Start": 2, "Teacher": 9, "Labels": 9, "Student": 9}
    # Shared: each teacher by its own row and its student's, each start by three teachers and three students.
    assert collections.Counter(type(stage).__name__ for stage in graph.shared) == {"Start": 2, "Teacher": 9}


def test_table_9_has_six_searches_on_three_teachers() -> None:
    # S1, S2, S3 with two numbers of steps; the teacher of a policy is that of Table 12, whatever the student.
    graph = build_graph(rows("9"))
    assert counts(graph) == {"Teacher": 3, "Labels": 3, "Student": 6 * 6, "Search": 6}
    teachers = {stage.augment: stage.steps for stage in graph.of_kind(Teacher)}
    assert teachers == {"S1": 45_000, "S2": 90_000, "S3": 90_000}
    assert collections.Counter(type(stage).__name__ for stage in graph.shared) == {"Teacher": 3, "Labels": 3}


def test_table_12_and_figure_2_share_students_with_the_searches_of_table_9() -> None:
    alone = {stage for table in ("12", "figure2") for stage in build_graph(rows(table)).of_kind(Student)}
    searched = set(build_graph(rows("9")).of_kind(Student))
    # Table 12: ImageNet at S1, S2, S3 with 90k and alpha 1, 1, 0.5. Figure 2: all six of S1 at 90k; of 180k
    # with loss normalisation and the usual rate S1 0.5 to 3 (4), S2 and S3 0.25 to 3 (5 each).
    # One of Table 12 is in Figure 2 as well: S1, 90k, alpha 1.
    assert len(alone & searched) == 2 + 6 + 4 + 5 + 5


def test_the_same_run_in_several_tables_is_one_stage() -> None:
    same = [find_row("2", 12), find_row("3", 6), find_row("10", 8), find_row("13", 8)]
    assert len({find_result(row) for row in same}) == 1
    assert find_result(find_row("5", 3)) == find_result(find_row("5", 4))  # val and test-dev


def test_a_seed_shares_nothing_but_the_starts() -> None:
    one, three = build_graph(rows("3")), build_graph(rows("3"), (0, 1, 2))
    assert counts(three) == {"Start": 2, "Teacher": 27, "Labels": 27, "Student": 27}
    assert {seed_of(stage) for stage in three.stages} == {None, 0, 1, 2}
    assert set(one.stages) <= set(three.stages)


def test_a_student_that_starts_at_random_takes_labels_alone() -> None:
    from_teacher, at_random = find_result(find_row("10", 5)), find_result(find_row("10", 9))
    assert [type(stage) for stage in inputs_of(from_teacher)] == [Teacher, Labels]
    assert [type(stage) for stage in inputs_of(at_random)] == [Labels]
    assert inputs_of(from_teacher)[1] == inputs_of(at_random)[0]


def test_every_stage_comes_after_its_inputs() -> None:
    graph = build_graph(ROWS)
    order = graphlib.TopologicalSorter({stage: inputs_of(stage) for stage in graph.stages})
    assert set(order.static_order()) == set(graph.stages)
    position = {stage: index for index, stage in enumerate(graph.stages)}
    assert all(position[before] < position[after] for before, after in graph.edges)
    assert len(graph.edges) == sum(len(inputs_of(stage)) for stage in graph.stages)


def test_joint_training_is_of_the_last_model_alone() -> None:
    both = find_result(find_row("7", 4))
    assert (both.joint_weight, both.labels.teacher.joint_weight) == (0.2, 0.0)
    assert find_result(find_row("7", 3)).joint_weight == 0.5


def test_the_grid_is_the_configs() -> None:
    assert "selftrain.alpha=" + ",".join(f"{alpha:g}" for alpha in ALPHA_GRID) == CONFIG_GRID


def test_names_are_the_same_in_another_process_and_differ_between_stages() -> None:
    graph = build_graph(ROWS)
    names = [stage_id(stage) for stage in graph.stages]
    assert len(set(names)) == len(names)
    code = (
        "from selftrain_jax.paper.plan.graph import build_graph, stage_id; from selftrain_jax.paper.rows "
        "import ROWS; print(*[stage_id(s) for s in build_graph(ROWS).stages])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == names


@pytest.mark.parametrize(("table", "row"), [("9", 1), ("9", 6)])
def test_a_search_holds_the_papers_alpha(table: str, row: int) -> None:
    found = find_result(find_row(table, row))
    assert isinstance(found, Search)
    assert find_row(table, row).value in [student.alpha for student in found.students]
    assert not build_graph([find_row(table, row)]).of_kind(Start)
