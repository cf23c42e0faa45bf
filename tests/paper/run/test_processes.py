"""A command as a process: its output and its end are in the log."""

import errno
import os
import signal
import sys
from pathlib import Path

import pytest

from selftrain_jax.paper.run import processes
from selftrain_jax.paper.run.logs import read_exit_code, read_last_lines
from selftrain_jax.paper.run.processes import CANNOT_START, run_logged


def nothing() -> None:
    pass


def test_output_and_exit_code_are_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    code = "import sys; print('one'); print('two', file=sys.stderr); sys.exit(3)"
    assert run_logged([sys.executable, "-u", "-c", code], log, nothing) == 3
    assert read_last_lines(log, 2) == ["one", "two"]
    assert read_exit_code(log) == 3
    assert run_logged([sys.executable, "-c", ""], log, nothing) == 0
    assert read_exit_code(log) == 0
    assert "two" in log.read_text()


def test_a_log_without_its_last_line_has_no_exit_code(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("exit code 0\n$ command\n")
    assert read_exit_code(log) is None
    assert read_exit_code(tmp_path / "none.log") is None


def test_a_program_that_does_not_exist_is_a_failure(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    assert run_logged(["/no/such/program"], log, nothing) == CANNOT_START
    assert read_last_lines(log, 1) == ["/no/such/program cannot be started: No such file or directory"]


@pytest.mark.parametrize("end", ["signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))", "pass"])
def test_sigterm_reaches_the_command_and_asks_for_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    log = tmp_path / "a.log"
    code = f"import signal, sys, time; {end}; print('ready', flush=True); time.sleep(20)"

    def tick() -> None:
        if "ready\n" in log.read_text():
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(processes, "LOOK_SECS", 0.02)
    before = signal.getsignal(signal.SIGTERM)
    assert run_logged([sys.executable, "-c", code], log, tick) == 75
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_disk_that_is_full_is_a_code_not_an_exception() -> None:
    assert run_logged([sys.executable, "-c", ""], Path("/dev/full"), nothing) == errno.ENOSPC
