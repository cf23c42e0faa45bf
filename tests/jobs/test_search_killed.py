"""A search of variants with rounds, killed at five points: the same command gives the same numbers."""

import json
import pathlib
import signal

import pytest

from tests.tiny_run import end_when, run

pytestmark = [pytest.mark.compiles, pytest.mark.slow]

SEARCH = (
    "--job=search",
    "--grid=selftrain.alpha=0.5,2",
    "--seeds=0,1",
    "--config.selftrain.rounds=2",
    "--config.selftrain.stop_when_worse=False",
)
FIRST, LAST = "variants/alpha=0.5,seed=0", "variants/alpha=2.0,seed=1"


def numbers(workdir: pathlib.Path) -> dict[str, object]:
    """What every stage of every variant learnt, predicted and measured, without the clock."""
    found: dict[str, object] = {}
    for path in sorted(workdir.rglob("stage.json")):
        record = json.loads(path.read_text())
        found[str(path.relative_to(workdir))] = [record["settings"], record["inputs"], record["results"]]
    for path in sorted(workdir.rglob("detections.json")):
        found[str(path.relative_to(workdir))] = json.loads(path.read_text())
    for path in sorted(workdir.rglob("*.tfrecord")):
        found[str(path.relative_to(workdir))] = path.read_bytes()
    return found | {"search": json.loads((workdir / "search.json").read_text())}


def test_killed_at_five_points_a_search_gives_the_same_numbers_bit_for_bit(tmp_path: pathlib.Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    status, output = run(whole, *SEARCH)
    assert status == 0, output
    points = [
        (killed / "teacher/checkpoints/2").exists,
        (killed / FIRST / "teacher/checkpoints").exists,  # in the middle of sharing
        (killed / FIRST / "round_2/pseudo_labels/pseudo-00001-of-00003.tfrecord").exists,
        (killed / LAST / "student/checkpoints/4").exists,
        lambda: any(killed.glob("variants/*/round_2/control/checkpoints/6")),  # of the chosen one
    ]
    codes = [end_when(killed, is_time, signal.SIGKILL, *SEARCH) for is_time in points]
    assert codes.count(-9) >= 4, codes
    status, output = run(killed, *SEARCH)
    assert status == 0, output
    assert numbers(killed) == numbers(whole)
