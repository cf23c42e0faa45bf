"""Commands as processes: `run_logged` is the starter that `runner.run_stages` takes."""

import errno
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO

from selftrain_jax.errors import RUN_AGAIN, InputError
from selftrain_jax.paper.run.logs import end_line

LOOK_SECS = 30.0  # how often `tick` is called
CANNOT_START = 127

Starter = Callable[[Sequence[str], Path, Callable[[], None]], int]
"""Runs a command whose output goes to the end of a log, calls a function now and then, returns the code."""


def run_logged(command: Sequence[str], log: Path, tick: Callable[[], None]) -> int:
    """Run a command to its end and return its exit code, which the log has in its last line.

    SIGTERM and Ctrl-C reach the command, which saves a checkpoint; this waits for it. A command that SIGTERM
    ended counts as one to run again, whatever its code.
    """
    try:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"$ {shlex.join(command)}\n")
            file.flush()
            code = _run(command, file, tick)
            file.write(end_line(code))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise InputError(f"{log} cannot be written: {error.strerror}") from error
        code = errno.ENOSPC  # the stage failed; others may fit
    return code


def _run(command: Sequence[str], log: IO[str], tick: Callable[[], None]) -> int:
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    except OSError as error:
        log.write(f"{command[0]} cannot be started: {error.strerror}\n")
        return CANNOT_START
    with _sigterm_goes_to(process) as signals:
        while True:
            try:
                code = process.wait(LOOK_SECS)
                return RUN_AGAIN if code and signals else code
            except subprocess.TimeoutExpired:
                tick()
            except KeyboardInterrupt:  # the terminal sent it to the command, too
                process.wait()
                raise


@contextmanager
def _sigterm_goes_to(process: "subprocess.Popen[bytes]") -> Iterator[list[int]]:
    """Send SIGTERM on; what is yielded collects the signals that came."""
    signals: list[int] = []

    def forward(number: int, _frame: FrameType | None) -> None:
        signals.append(number)
        process.send_signal(number)

    before = signal.signal(signal.SIGTERM, forward)
    try:
        yield signals
    finally:
        signal.signal(signal.SIGTERM, before)
