"""The log of a stage: one JSON object per line in `metrics.jsonl`, and TensorBoard events if asked.

Open a `MetricLog` at the step that the run starts from; `run_files.metrics` reads the lines.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import jax

from selftrain_jax.io import atomic_write
from selftrain_jax.run_files.metrics import METRICS_FILE, read_metrics


class MetricLog:
    """Writes on process 0 only. Lines after `resume_step` are removed, as these steps will be run again."""

    def __init__(self, directory: Path, *, resume_step: int = 0, tensorboard: bool = False) -> None:
        self._file = None
        self._events = None
        if jax.process_index() != 0:
            return
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / METRICS_FILE
        _drop_lines_after(path, resume_step)
        self._file = path.open("a", encoding="utf-8")
        if tensorboard:
            from clu import metric_writers  # imports TensorFlow

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
        """Return the log itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the files."""
        if self._file is not None:
            self._file.close()
        if self._events is not None:
            self._events.close()


def progress_line(name: str, num_steps: int, step: int, metrics: Mapping[str, Any]) -> str:
    """Format a stage's progress: step, loss, images per second, share of waiting for data, time left."""
    minutes, secs = divmod(round(metrics["speed/eta_secs"]), 60)
    return (
        f"{name} step {step}/{num_steps}  loss {float(metrics['train/loss']):.4g}  "
        f"{metrics['speed/images_per_second']:.1f} images/s  "
        f"data wait {metrics['speed/data_wait_share']:.0%}  left {minutes // 60}:{minutes % 60:02}:{secs:02}"
    )


def _drop_lines_after(path: Path, step: int) -> None:
    lines = [line for line in read_metrics(path, skip_damaged=True) if line["step"] <= step]
    with atomic_write(path) as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def _to_line(step: int, metrics: Mapping[str, Any]) -> str:
    values = {key: float(value) for key, value in metrics.items()}
    # Seven digits are what float32 holds.
    rounded = {key: float(f"{v:.7g}") if math.isfinite(v) else None for key, v in values.items()}
    return json.dumps({"step": step, **rounded}) + "\n"
