"""The log of a stage: one JSON object a line in `metrics.jsonl`, and TensorBoard events if asked.

Open a `MetricLog` at the step that the run starts from; `read_metrics` gives the lines back.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import jax

FILE_NAME = "metrics.jsonl"


class MetricLog:
    """Writes on process 0 alone. Lines after `resume_step` are dropped, for they will be run again."""

    def __init__(self, directory: Path, *, resume_step: int = 0, tensorboard: bool = False) -> None:
        self._file = None
        self._events = None
        if jax.process_index() != 0:
            return
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / FILE_NAME
        _drop_lines_after(path, resume_step)
        self._file = path.open("a", encoding="utf-8")
        if tensorboard:
            from clu import metric_writers  # brings TensorFlow

            self._events = metric_writers.SummaryWriter(str(directory))

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Append a line and flush it; a value that is not finite becomes null."""
        if self._file is None:
            return
        self._file.write(_to_line(step, metrics))
        self._file.flush()
        if self._events is not None:
            self._events.write_scalars(step, {key: float(value) for key, value in metrics.items()})
            self._events.flush()

    def __enter__(self) -> "MetricLog":
        """Give the log itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the files."""
        if self._file is not None:
            self._file.close()
        if self._events is not None:
            self._events.close()


def read_metrics(directory: Path) -> list[dict[str, Any]]:
    """Read the log of a stage; a line cut off by a crash is left out, null stands for not finite."""
    path = directory / FILE_NAME
    if not path.exists():
        return []
    rows = (_parse(line) for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    return [row for row in rows if row is not None]


def progress_line(name: str, num_steps: int, step: int, metrics: Mapping[str, Any]) -> str:
    """Say in one line how far a stage is: step, loss, images a second, waiting for data, time left."""
    minutes, secs = divmod(round(metrics["speed/eta_secs"]), 60)
    return (
        f"{name} step {step}/{num_steps}  loss {float(metrics['train/loss']):.4g}  "
        f"{metrics['speed/images_per_second']:.1f} images/s  "
        f"data wait {metrics['speed/data_wait_share']:.0%}  left {minutes // 60}:{minutes % 60:02}:{secs:02}"
    )


def _drop_lines_after(path: Path, step: int) -> None:
    """Rewrite the log through a second file, so that a crash leaves the old one or the new one."""
    rows = [row for row in read_metrics(path.parent) if row["step"] <= step]
    rewritten = path.with_suffix(".tmp")
    rewritten.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    rewritten.replace(path)


def _to_line(step: int, metrics: Mapping[str, Any]) -> str:
    values = {key: float(value) for key, value in metrics.items()}
    # Seven digits are what float32 holds.
    rounded = {key: float(f"{v:.7g}") if math.isfinite(v) else None for key, v in values.items()}
    return json.dumps({"step": step, **rounded}) + "\n"


def _parse(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None
