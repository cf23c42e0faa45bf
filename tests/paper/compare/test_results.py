"""Which numbers of finished runs count for which rows."""

import json

import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.paper.compare.results import read_results
from selftrain_jax.paper.compare.tables import count_results
from selftrain_jax.paper.rows import ROWS, find_row
from tests.paper.compare.runs import config_of, write_diverged, write_run, write_search


def test_a_students_run_is_a_result_of_every_row_with_the_same_run_and_of_its_teachers(tmp_path) -> None:
    write_run(tmp_path / "deep" / "er", "2", 12, seed=1, teacher=44.0, student=45.0)
    results = read_results(tmp_path)
    assert (results.seeds, results.num_runs) == ((1,), 1)
    for table, row in (("2", 12), ("3", 6), ("10", 8), ("13", 8)):
        assert results.of_row(find_row(table, row)) == {1: pytest.approx(45.0)}
    for table, row in (("2", 4), ("3", 3), ("figure1", 12)):
        assert results.of_row(find_row(table, row)) == {1: pytest.approx(44.0)}
    assert results.of_row(find_row("3", 4)) == {}


def test_a_rows_own_run_counts_before_the_teacher_of_another(tmp_path) -> None:
    write_run(tmp_path / "a", "3", 6, teacher=44.0, student=45.0)
    write_run(tmp_path / "b", "3", 3, teacher=43.0)
    assert read_results(tmp_path).of_row(find_row("3", 3)) == {0: pytest.approx(43.0)}


def test_masks_count_as_the_official_code_measures_them(tmp_path) -> None:
    write_run(tmp_path, "6", 2, teacher=85.0, student=86.0)  # miou is a point lower in the file
    assert read_results(tmp_path).of_row(find_row("6", 2)) == {0: pytest.approx(86.0)}


def test_a_servers_number_is_none_of_ours(tmp_path) -> None:
    write_run(tmp_path, "5", 4, teacher=50.0, student=52.0)
    results = read_results(tmp_path)
    assert results.of_row(find_row("5", 4)) == {}
    assert results.of_row(find_row("5", 3)) == {0: pytest.approx(52.0)}


def test_the_best_alpha_of_each_seed_comes_from_its_search(tmp_path) -> None:
    folder = write_run(tmp_path, "9", 1, teacher=37.0)
    full = {0.25: 0.1, 0.5: 0.2, 1.0: 0.3, 2.0: 0.25, 3.0: 0.1, 4.0: 0.0}
    write_search(folder, {0: full, 1: {**full, 3.0: 0.31}, 2: {**full, 4.0: None}})
    results = read_results(tmp_path)
    assert results.of_row(find_row("9", 1)) == {0: 1.0, 1: 3.0}  # of seed 2 a point is missing
    assert results.of_row(find_row("12", 1)) == {0: pytest.approx(37.0)}


def test_a_training_that_diverged_is_a_result_without_a_number(tmp_path) -> None:
    write_diverged(tmp_path, "figure2", 11)
    write_diverged(tmp_path, "figure2", 12, stage="teacher")  # no student was trained
    results = read_results(tmp_path)
    assert results.of_row(find_row("figure2", 11)) == {0: None}
    assert results.of_row(find_row("figure2", 12)) == {}


def test_other_settings_than_the_papers_are_remarked(tmp_path) -> None:
    config = config_of("3", 6)
    config["teacher"]["steps"] = 9
    config["selftrain"]["alpha"] = 2.0
    write_run(tmp_path / "short", "3", 6, config=config, teacher=1.0, student=2.0)
    write_run(tmp_path / "full", "3", 1, teacher=30.0)
    (remark,) = read_results(tmp_path).remarks
    folder = tmp_path / "short" / "paper_3_6_0"
    assert remark == f"{folder}: teacher.steps=9 in place of 120000, selftrain.alpha=2.0 in place of 0.5"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.table}-{row.row}")
def test_a_run_of_any_row_as_configured_has_no_remark(tmp_path, row) -> None:
    write_run(tmp_path, row.table, row.row, seed=2, teacher=1.0, student=2.0)
    results = read_results(tmp_path)
    assert (results.remarks, results.scale) == ((), "full")


def test_runs_of_two_scales_are_not_mixed(tmp_path) -> None:
    small = config_of("3", 3)
    small["paper"]["scale"] = "small"
    write_run(tmp_path, "3", 3, config=small, teacher=1.0)
    results = read_results(tmp_path)
    assert (results.remarks, results.scale) == ((), "small")
    assert count_results("3", results) == "1 of 18 rows has results, at the scale small"
    write_run(tmp_path, "3", 1, teacher=30.0)
    with pytest.raises(InputError, match="runs of the scales full, small"):
        read_results(tmp_path)


def test_variants_of_a_run_that_has_not_ended_are_no_runs(tmp_path) -> None:
    write_run(tmp_path, "3", 1, teacher=30.0)
    write_run(tmp_path / "search" / "variants", "3", 3, teacher=1.0)
    (tmp_path / "search" / "config.json").write_text("{}")
    results = read_results(tmp_path)
    assert results.num_runs == 1
    assert results.of_row(find_row("3", 3)) == {}


def test_a_stage_without_a_defined_score_is_no_result(tmp_path) -> None:
    write_run(tmp_path, "3", 3, teacher=-100.0)
    assert read_results(tmp_path).of_row(find_row("3", 3)) == {}


def test_folders_without_runs_of_the_paper_are_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="none is not a folder"):
        read_results(tmp_path / "none")
    with pytest.raises(InputError, match="has no run of the paper in it"):
        read_results(tmp_path)
    config = config_of("3", 3)
    del config["paper"]
    write_run(tmp_path, "3", 3, config=config, teacher=1.0)
    with pytest.raises(InputError, match="has no run of the paper in it"):
        read_results(tmp_path)


@pytest.mark.parametrize(
    "place", [{"table": "99", "row": 1}, {"table": "3", "row": 99}, {"table": 3, "row": "x"}]
)
def test_a_row_that_the_paper_does_not_have_names_the_folder(tmp_path, place) -> None:
    config = config_of("3", 3)
    config["paper"].update(place)
    write_run(tmp_path, "3", 3, config=config, teacher=1.0)
    with pytest.raises(InputError, match=r"paper_3_3_0: its config\.paper names no row"):
        read_results(tmp_path)


def test_a_damaged_file_is_named(tmp_path) -> None:
    folder = write_run(tmp_path, "3", 3, teacher=1.0)
    (folder / "summary.json").write_text(json.dumps({"seed": "x"}))
    with pytest.raises(InputError, match=r"summary\.json"):
        read_results(tmp_path)
