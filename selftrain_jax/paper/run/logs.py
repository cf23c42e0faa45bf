"""The log of a stage beside its folder, DIR/STAGE.log: what its command printed, and how it ended.

A log grows from attempt to attempt. The last line of an attempt is `exit code N`, which launch/slurm.sbatch
writes too; a log without it is of a command that still runs or was killed.
"""

import re
from pathlib import Path

from selftrain_jax.errors import printable
from selftrain_jax.paper.plan.graph import Stage, stage_id

NUM_LINES = 3  # that tell why a stage failed
TAIL_BYTES = 20_000
END = re.compile(r"exit code (-?\d+)")


def log_path(stage: Stage, runs: Path) -> Path:
    """Return where a stage's log is."""
    return runs / f"{stage_id(stage)}.log"


def end_line(code: int) -> str:
    """Return the line that says how a command ended."""
    return f"exit code {code}\n"


def read_exit_code(path: Path) -> int | None:
    """Return how the last attempt ended; None where it has not, or there is no log."""
    lines = _read_tail(path)
    found = END.fullmatch(lines[-1]) if lines else None
    return None if found is None else int(found.group(1))


def read_last_lines(path: Path, num: int = NUM_LINES) -> list[str]:
    """Return the last lines that a command printed, fit for a terminal."""
    lines = [line for line in _read_tail(path) if not END.fullmatch(line)]
    return [printable(line) for line in lines[-num:]]


def _read_tail(path: Path) -> list[str]:
    """Return the last lines of a file, without empty ones; none where it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line for line in text.replace("\r", "\n").splitlines() if line.strip()]
