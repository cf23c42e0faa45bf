"""metrics.jsonl: the log of a stage, one object a line, as `read_metrics` gives them; `merge_steps`."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from selftrain_jax.errors import InputError

METRICS_FILE = "metrics.jsonl"

Row = dict[str, Any]
"""What was logged at a `step`: numbers by `group/name`, None where one was not finite."""


def read_metrics(path: Path, *, skip_damaged: bool = False) -> list[Row]:
    """Read the lines in order; a file that does not exist has none.

    The last line may be half written, by a run that is still going or was killed; it is then left out.
    `skip_damaged` leaves out other lines that cannot be read, too.

    Raises:
        InputError: any other line is not a JSON object with a `step`.
    """
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        del lines[-1]
    rows = []
    for number, line in enumerate(lines, 1):
        row = _parse(line)
        if row is not None:
            rows.append(row)
        elif line.strip() and not skip_damaged:
            raise InputError(
                f'{path}, line {number}: expected a JSON object with a whole "step", found {line[:80]!r}. '
                "Delete the line: only its points of the curves are lost."
            )
    return rows


def merge_steps(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Merge the rows of each step, in order of steps; where a step was logged twice the last values count."""
    by_step: dict[int, Row] = {}
    for row in rows:
        by_step.setdefault(row["step"], {}).update(row)
    return tuple(by_step[step] for step in sorted(by_step))


def _parse(line: str) -> Row | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and type(row.get("step")) is int else None
