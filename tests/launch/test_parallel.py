"""Commands side by side: their logs, what failed, and that nothing is begun for nobody."""

import sys

import pytest

from launch.parallel import run_parallel

SLOWLY = "import time; open(name, 'w').close(); time.sleep(1)"  # so that a loaded machine begins no third


def lines(count, text=SLOWLY):
    """Commands that write a file each."""
    return {name: [sys.executable, "-c", f"name = {name!r}; {text}"] for name in map(str, range(count))}


def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "logs"


def test_every_command_runs_and_has_a_log(tmp_path, monkeypatch):
    logs = in_folder(tmp_path, monkeypatch)
    assert sorted(run_parallel(lines(3, "print('number', name)"), logs, 1)) == ["0", "1", "2"]
    assert (logs / "2.log").read_text() == "number 2\n"


def test_after_a_failure_none_that_waits_is_begun(tmp_path, monkeypatch):
    logs = in_folder(tmp_path, monkeypatch)
    commands = {"bad": [sys.executable, "-c", "raise SystemExit(3)"], **lines(3)}
    with pytest.raises(SystemExit, match=r"a run failed: .*exit status 3.*; see its log in"):
        list(run_parallel(commands, logs, 1))
    assert sum((tmp_path / str(number)).exists() for number in range(3)) <= 1  # it had begun


def test_closed_early_it_begins_none_that_waits(tmp_path, monkeypatch):
    running = run_parallel(lines(5), in_folder(tmp_path, monkeypatch), 1)
    next(running)
    running.close()
    assert sum((tmp_path / str(number)).exists() for number in range(5)) <= 2


def test_more_at_once_than_there_are_cores_is_refused(tmp_path):
    with pytest.raises(SystemExit, match=r"--parallel=9999: use 1 to"):
        next(run_parallel(lines(1), tmp_path, 9999))
