import json
import pathlib
import subprocess
import sys

import pytest

from launch import parallel
from launch.study_bccd import __main__ as study
from launch.study_bccd import results
from launch.study_bccd.cells import STEPS, STUDENT_STEPS, Cell, cells, command


def summary(ap, init="rand", **stages):
    steps = {"teacher": STEPS[init], **dict.fromkeys(("control", "student"), STUDENT_STEPS[init])}
    found = {
        name: {"ap": value, "ap50": 0.6, "steps": steps[name], "seconds": 5.0}
        for name, value in {"teacher": ap, **stages}.items()
    }
    return {**found, "pseudo_labels": {"boxes": 7}, "device": "cpu", "versions": {}}


def finish(runs, cell, content):
    (runs / cell.name).mkdir(parents=True)
    unfinished = runs / cell.name / "summary.unfinished"
    unfinished.write_text(json.dumps(content))
    unfinished.replace(runs / cell.name / "summary.json")  # at once, as the runs do: another thread may read


def test_the_study_has_every_cell_once_and_54_trainings():
    assert len(set(cells())) == len(cells()) == 30
    assert sum(1 if cell.is_supervised else 3 for cell in cells()) == 54


def test_a_supervised_cell_has_no_student_and_no_control():
    line = command(Cell("imagenet", 100, "s4", 1), "bccd", pathlib.Path("runs"))
    assert "--config.unlabeled.kind=none" in line
    assert "--config.student.control=False" in line
    assert any("labels=100,aug=s4,backbone=efficientnet_lite0,init=imagenet,seed=1" in part for part in line)


def test_table_has_mean_and_deviation_of_what_is_finished(tmp_path):
    for seed, ap in enumerate((0.30, 0.34)):
        finish(tmp_path, Cell("rand", 20, "s4", seed), summary(ap, control=0.4, student=ap + 0.2))
    rows = results.read_results(tmp_path / "none.json", tmp_path)
    assert [row["seed"] for row in rows] == [0, 1]
    table = results.format_table(rows).splitlines()
    assert table[0] == "| | S4, 10 % | S4, 20 % | S4, 100 % | S1, 20 % | S1, 100 % |"
    assert table[2] == "| rand, supervised |  | 32.0 (2.8), n=2 |  |  |  |"
    assert table[4] == "| rand, self-training |  | 52.0 (2.8), n=2 |  |  |  |"
    assert table[8:10] == [
        "| rand, student over teacher |  | +20.0 (0.0), n=2 | | | |",
        "| rand, student over control |  | +12.0 (2.8), n=2 | | | |",
    ]
    assert table[12:] == [
        "| the paper's rand, supervised |  | 30.7 | 44.3 |  | 39.2 |",
        "| the paper's rand, self-training |  | 34.1 | 45.6 |  | 40.9 |",
        "| the paper's imagenet, supervised |  | 33.3 | 43.3 |  | 39.5 |",
        "| the paper's imagenet, self-training |  | 36.0 | 44.6 |  |  |",
    ]


def test_results_outlive_the_runs_folders(tmp_path):
    first, second = Cell("rand", 20, "s4", 0), Cell("imagenet", 10, "s4", 0)
    finish(tmp_path / "old", first, summary(0.3))
    file = tmp_path / "made" / "results.json"
    results.write_results(results.read_results(file, tmp_path / "old"), file)
    finish(tmp_path / "new", second, summary(0.5, init="imagenet"))
    rows = results.read_results(file, tmp_path / "new")
    assert [row["init"] for row in rows] == ["rand", "imagenet"]
    assert all(results.is_finished(cell, rows) for cell in (first, second))
    assert not results.is_finished(first._replace(seed=1), rows)
    assert file.with_suffix(".png").stat().st_size > 5000
    assert file.with_suffix(".md").read_text().startswith("| | S4, 10 %")


def test_only_what_is_left_is_run_and_each_cell_has_its_own_cores(tmp_path, monkeypatch, capsys):
    *done, last = cells()
    for cell in done[:-1]:
        finish(tmp_path, cell, summary(0.3, init=cell.init))
    lines = []

    def run(line, **_):
        lines.append(line)
        cell = done[-1] if done[-1].name in " ".join(line) else last
        finish(tmp_path, cell, summary(0.3, init=cell.init))

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(parallel.os, "sched_getaffinity", lambda _: {3, 5, 8, 9})
    arguments = f"study --data=bccd --runs={tmp_path} --results={tmp_path}/results.json --parallel=2"
    monkeypatch.setattr(sys, "argv", arguments.split())
    study.main()
    assert "28 cells finished, 2 to run" in capsys.readouterr().out
    assert {line[2] for line in lines} <= {"3,8", "5,9"}
    assert len(lines) == 2
    assert len(json.loads((tmp_path / "results.json").read_text())) == 30


def test_more_runs_than_cores_are_refused(monkeypatch):
    monkeypatch.setattr(parallel.os, "sched_getaffinity", lambda _: {0, 1})
    with pytest.raises(SystemExit, match="--parallel=3: use 1 to 2"):
        parallel.split_cores(3)


def test_a_cell_of_other_steps_is_refused_by_name(tmp_path):
    finish(tmp_path, Cell("rand", 10, "s4", 0), summary(0.3, init="imagenet"))
    with pytest.raises(SystemExit, match=r"rand-10-s4-0 .* teacher 400, not 1600"):
        results.read_results(tmp_path / "none.json", tmp_path)
