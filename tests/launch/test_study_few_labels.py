"""The study of few labels: its cells, its table from made-up summaries, what is run and what is not."""

import importlib
import json
import pathlib
import subprocess
import sys

import pytest

from launch.study_few_labels import __main__ as study
from launch.study_few_labels.cells import SETS, Cell, command, list_cells
from launch.study_few_labels.results import format_table, read_results, write_results


def summary(teacher, control, oracle, student, steps=10, **controls):
    scores = {"teacher": teacher, "control": control, "oracle": oracle, "student": student, **controls}
    return {
        **{arm: {"ap": score, "steps": steps, "seconds": 1.0} for arm, score in scores.items()},
        **{"metric": "ap", "pseudo_labels": {"boxes": 7}, "device": "cpu", "versions": {}},
        "config": {"seed": 0, "student": {"steps": steps}, "data": {"dir": "a", "label_percent": 2}},
    }


def finish(runs, cell, content):
    (runs / cell.name).mkdir(parents=True, exist_ok=True)
    unfinished = runs / cell.name / "summary.unfinished"
    unfinished.write_text(json.dumps(content))
    unfinished.replace(runs / cell.name / "summary.json")


CELLS = list_cells(["animals"], [], ["s4"], [0, 1])


def test_every_data_set_has_its_shares_and_a_seed_is_finished_before_the_next():
    assert [
        *(Cell("animals", 2, "s4", 0), Cell("animals", 5, "s4", 0)),
        *(Cell("animals", 2, "s4", 1), Cell("animals", 5, "s4", 1)),
    ] == CELLS
    cells = list_cells(SETS, [5.0], ["s1", "s4"], [0])
    assert [cell.name for cell in cells[:3]] == ["animals-5-s1-0", "animals-5-s4-0", "bccd-5-s1-0"]
    assert list_cells(SETS, [], ["s4"], [3])[-1].name == "camvid-12.5-s4-3"


@pytest.mark.parametrize("name", SETS)
def test_every_command_is_one_that_the_program_reads(name):
    """Its config takes the arguments, and every flag is a key of it."""
    line = command(Cell(name, 2, "s3", 4), pathlib.Path("data"), pathlib.Path("runs"), ["--x"])
    config_file, arguments = line[3].removeprefix("--config=").split(":")
    module = importlib.import_module(config_file.removesuffix(".py").replace("/", "."))
    config = module.get_config(arguments)
    assert (config.seed, config.augment.policy, config.preset.name) == (4, "s3", "cpu")
    flags = dict(flag.removeprefix("--config.").split("=", 1) for flag in line[5:-1])
    for key in flags:
        value = config
        for part in key.split("."):
            value = value[part]
    assert flags["student.oracle"] == "True"
    assert (line[4], line[-1]) == (f"--workdir=runs/{name}-2-s3-4", "--x")


def test_the_table_is_over_the_stronger_control_of_each_seed(tmp_path):
    for seed, control_half in ((0, 0.44), (1, 0.40)):
        content = summary(0.41, 0.42, 0.52, 0.45 + seed / 100, control_half=control_half)
        finish(tmp_path, Cell("animals", 2, "s4", seed), content)
    rows = read_results(tmp_path / "none.json", tmp_path, CELLS).values()
    assert format_table(rows).splitlines()[2:] == [
        # gains 1 and 4 over 44 and 42, of the 8 and 10 of the oracle
        "| animals, 2 %, S4 | 41.0 (0.0) | 43.0 (1.4) | 52.0 (0.0) | 45.5 (0.7) | "
        "+2.5 (2.1): +1.0, +4.0 | 28 % |",
    ]
    (only,) = (row for row in rows if row["seed"] == 0)
    assert "44.0 | 52.0 | 45.0 | +1.0: +1.0 | 12 % |" in format_table([only])


def test_an_oracle_that_gains_nothing_is_said(tmp_path):
    finish(tmp_path, CELLS[0], summary(0.4, 0.42, 0.41, 0.43))
    table = format_table(read_results(tmp_path / "none.json", tmp_path, CELLS).values())
    assert table.endswith("the oracle gains nothing |")


def test_without_an_oracle_the_table_has_none(tmp_path):
    content = summary(0.40, 0.41, 0.50, 0.43)
    del content["oracle"]
    finish(tmp_path, CELLS[0], content)
    table = format_table(read_results(tmp_path / "none.json", tmp_path, CELLS).values())
    assert table.splitlines()[-1] == "| animals, 2 %, S4 | 40.0 | 41.0 | - | 43.0 | +2.0: +2.0 | - |"


def test_results_outlive_the_runs_folders(tmp_path):
    finish(tmp_path / "old", CELLS[0], summary(0.4, 0.4, 0.5, 0.45))
    file = tmp_path / "made" / "results.json"
    write_results(read_results(file, tmp_path / "old", CELLS), file)
    finish(tmp_path / "new", CELLS[2], summary(0.4, 0.4, 0.5, 0.47))
    assert set(read_results(file, tmp_path / "new", CELLS)) == {CELLS[0], CELLS[2]}
    assert file.with_suffix(".md").read_text().startswith("|  | teacher | control |")


def test_cells_of_another_recipe_are_refused_by_name(tmp_path):
    finish(tmp_path, CELLS[0], summary(0.4, 0.4, 0.5, 0.45))
    finish(tmp_path, CELLS[2], summary(0.4, 0.4, 0.5, 0.45, steps=20))
    with pytest.raises(SystemExit, match=r"animals-2-s4-1 and animals-2-s4-0 .* student.steps 20 and 10\."):
        read_results(tmp_path / "none.json", tmp_path, CELLS)


def test_anchors_by_the_boxes_of_each_seed_are_one_recipe(tmp_path):
    for cell, anchor_size in zip((CELLS[0], CELLS[2]), (2.0, 2.5), strict=True):
        content = summary(0.4, 0.4, 0.5, 0.45)
        content["config"]["model"] = {"anchor_size": anchor_size}
        finish(tmp_path, cell, content)
    assert len(read_results(tmp_path / "none.json", tmp_path, CELLS)) == 2


def test_only_what_is_left_is_run(tmp_path, monkeypatch, capsys):
    lines = []

    def run(line, **_):
        lines.append(line)
        name = next(part for part in line if part.startswith("--workdir=")).rpartition("/")[2]
        finish(tmp_path, next(cell for cell in CELLS if cell.name == name), summary(0.4, 0.4, 0.5, 0.45))

    finish(tmp_path, CELLS[0], summary(0.4, 0.4, 0.5, 0.45))
    monkeypatch.setattr(subprocess, "run", run)
    arguments = ["study", "--animals=data", f"--runs={tmp_path}", "--seeds=0,1", "--", "--config.log.x=1"]
    monkeypatch.setattr(sys, "argv", arguments)
    study.main()
    printed = capsys.readouterr().out
    assert "1 cells finished, 3 to run" in printed
    assert "| animals, 5 %, S4 | 40.0 (0.0) | 40.0 (0.0) | 50.0 (0.0) | 45.0 (0.0) |" in printed
    assert len(lines) == 3
    assert all(line[-1] == "--config.log.x=1" for line in lines)


def test_a_study_of_nothing_is_refused(capsys):
    with pytest.raises(SystemExit):
        study.parse([])
    assert "name the folder of a data set: --animals=DIR" in capsys.readouterr().err
