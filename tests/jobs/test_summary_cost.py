"""The cost of stages and of the run in summary.json, in the table for the terminal and in the report."""

import json
import pathlib

import pytest

from configs import quickstart
from selftrain_jax.html.blocks import Heading, Note, Table
from selftrain_jax.jobs.summary import write_summary
from selftrain_jax.report.cost import cost_blocks
from selftrain_jax.run_files.cost import Cost
from selftrain_jax.run_files.summary import Summary
from tests.compare_run import write_base, write_rounds
from tests.tasks.conftest import read_box_run, write_json

# Seconds of two devices: 12 of a stage, of which 3 compiling, 1.2 evaluating, 0.6 waiting; 3 of labels.
STAGE = Cost(
    device_seconds={"cpu": 24.0},
    images=396,
    waiting_device_seconds=1.2,
    compiling_device_seconds=6.0,
    evaluating_device_seconds=2.4,
    energy_joules=1000.0,
)
LABELS = Cost(
    device_seconds={"cpu": 6.0},
    images=30,
    waiting_device_seconds=None,
    compiling_device_seconds=3.0,
    evaluating_device_seconds=0.0,
    energy_joules=500.0,
)


def add_cost(path: pathlib.Path, cost: Cost) -> None:
    write_json(path, {**json.loads(path.read_text()), "cost": cost.to_json()})


@pytest.fixture
def workdir(tmp_path: pathlib.Path) -> pathlib.Path:
    write_base(tmp_path)
    for stage in ("teacher", "control", "student"):
        add_cost(tmp_path / stage / "evaluation.json", STAGE)
    add_cost(tmp_path / "pseudo_labels/manifest.json", LABELS)
    return tmp_path


def sum_up(workdir: pathlib.Path) -> tuple[dict, str]:
    table = write_summary(workdir, quickstart.get_config())
    path = workdir / "summary.json"
    found = json.loads(path.read_text())
    assert Summary.from_json(found, path).to_json() == found
    return found, table


def test_stages_labels_and_the_run_have_a_cost(workdir: pathlib.Path) -> None:
    """The run: 3 stages of 24 and labels of 6 device-seconds are 78; compiling 3 * 6 + 3 = 21 of them."""
    summary, table = sum_up(workdir)
    assert summary["student"]["cost"] == {
        "device_seconds": {"cpu": 24.0},
        "images_per_device_second": round(396 / 15.6, 3),
        "waiting_share": 0.05,
        "compiling_share": 0.25,
        "evaluating_share": 0.1,
        "energy_joules": 1000.0,
    }
    assert summary["pseudo_labels"]["cost"]["images_per_device_second"] == 10
    assert summary["pseudo_labels"]["cost"]["waiting_share"] is None
    assert summary["cost"] == {
        "device_seconds": {"cpu": 78.0},
        "waiting_share": round(3.6 / 78, 4),
        "compiling_share": round(21 / 78, 4),
        "evaluating_share": round(7.2 / 78, 4),
        "energy_joules": 3500.0,
    }
    line = "cost: 78 device-seconds (cpu), 27 % compiling, 9 % evaluating, 5 % waiting for data, 4 kJ"
    assert line in table.splitlines()


def test_a_stage_of_an_older_version_leaves_the_run_unknown(workdir: pathlib.Path) -> None:
    path = workdir / "control/evaluation.json"
    write_json(path, {key: own for key, own in json.loads(path.read_text()).items() if key != "cost"})
    summary, table = sum_up(workdir)
    assert "cost" in summary["student"]
    assert "cost" not in summary["control"]
    assert "cost" not in summary
    assert "cost:" not in table


def test_every_round_counts(workdir: pathlib.Path) -> None:
    write_rounds(workdir, [0.25, 0.35], kept=1)
    for stage in ("round_2/student", "round_2/control"):
        add_cost(workdir / stage / "evaluation.json", STAGE)
    add_cost(workdir / "round_2/pseudo_labels/manifest.json", LABELS)
    assert sum_up(workdir)[0]["cost"]["device_seconds"] == {"cpu": 4 * 24.0 + 2 * 6.0}


def test_the_report_has_a_row_for_each_and_one_for_all(workdir: pathlib.Path) -> None:
    sum_up(workdir)
    heading, table, note = cost_blocks(read_box_run(workdir))
    assert isinstance(heading, Heading)
    assert isinstance(note, Note)
    assert isinstance(table, Table)
    assert [row[0] for row in table.rows] == ["teacher", "control", "pseudo labels", "student", "all"]
    assert list(table.rows[2]) == ["pseudo labels", "6 (cpu)", "10.0", "\u2013", "50 %", "0 %", "0.5"]
    assert list(table.rows[3]) == ["student", "24 (cpu)", "25.4", "5.0 %", "25 %", "10 %", "1.0"]
    assert list(table.rows[4]) == ["all", "78 (cpu)", "\u2013", "4.6 %", "27 %", "9.2 %", "3.5"]
    assert list(table.strong_rows) == [4]
