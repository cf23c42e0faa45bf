"""The log of a stage, one JSON object a line and TensorBoard events if asked, and the speed of training.

Open a `MetricLog` at the step that the run starts from; `run_files.metrics` reads the lines. Of a `Speed` the
loop calls `fetch` for every batch and `count` after its update, wraps evaluation in `pause`, and reads
`metrics` at each line of the log.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from selftrain_jax.cost.meter import Meter
from selftrain_jax.io import atomic_write
from selftrain_jax.run_files.cost import Cost
from selftrain_jax.run_files.metrics import METRICS_FILE, read_metrics
from selftrain_jax.types import Batch


class MetricLog:
    """Writes on process 0 only. Lines after `resume_step` are removed, as these steps will be run again."""

    def __init__(self, directory: Path, *, resume_step: int = 0, tensorboard: bool = False) -> None:
        self._file = None
        self._events = None
        if jax.process_index() != 0:
            return
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / METRICS_FILE
        lines = [line for line in read_metrics(path, skip_damaged=True) if line["step"] <= resume_step]
        with atomic_write(path) as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
        self._file = path.open("a", encoding="utf-8")
        if tensorboard:
            from clu import metric_writers  # imports TensorFlow

            self._events = metric_writers.SummaryWriter(str(directory))

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Append a line and flush it; a value that is not finite becomes null."""
        if self._file is None:
            return
        values = {key: float(value) for key, value in metrics.items()}
        # Seven digits are what float32 holds.
        rounded = {key: float(f"{v:.7g}") if math.isfinite(v) else None for key, v in values.items()}
        self._file.write(json.dumps({"step": step, **rounded}) + "\n")
        self._file.flush()
        if self._events is not None:
            self._events.write_scalars(step, values)
            self._events.flush()

    def __enter__(self) -> "MetricLog":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
        if self._events is not None:
            self._events.close()


def progress_line(
    name: str, num_steps: int, step: int, metrics: Mapping[str, Any], shown: Sequence[str] = ()
) -> str:
    """Format a stage's progress: step, loss, images per second, share of waiting for data, time left.

    The metrics named in `shown` follow the loss, without their group.
    """
    more = "".join(f"{key.rpartition('/')[2]} {float(metrics[key]):.4g}  " for key in shown)
    minutes, secs = divmod(round(metrics["speed/eta_secs"]), 60)
    return (
        f"{name} step {step}/{num_steps}  loss {float(metrics['train/loss']):.4g}  {more}"
        f"{metrics['speed/images_per_second']:.1f} images/s  "
        f"data wait {metrics['speed/data_wait_share']:.0%}  left {minutes // 60}:{minutes % 60:02}:{secs:02}"
    )


class Speed:
    """Counters since the last reading; `training_secs` includes earlier sessions and pauses.

    The meter is told what the time of the session is spent on.
    """

    def __init__(self, earlier_secs: float = 0.0, meter: Meter | None = None) -> None:
        self._meter = meter or Meter([])
        self._begin = time.monotonic() - earlier_secs
        self.restart()

    @property
    def training_secs(self) -> float:
        """Seconds spent on this stage so far, over all sessions."""
        return time.monotonic() - self._begin

    def fetch(
        self, stream: Iterator[tuple[Batch, list[str]]], is_idle: Callable[[], bool]
    ) -> tuple[Batch, list[str]]:
        """Take the next batch and its image ids.

        The time counts as waiting if the devices are idle at its end. This is an upper bound: they may have
        become idle only then.
        """
        self._meter.count_time("working")
        begin = time.monotonic()
        batch, image_ids = next(stream)
        waited_secs = time.monotonic() - begin
        is_waiting = is_idle()
        if is_waiting:
            self._wait_secs += waited_secs
        self._meter.count_time("waiting" if is_waiting else "working")
        return batch, image_ids

    def count(self, num_images: int) -> None:
        """Count a finished update."""
        self._meter.count_images(num_images)
        self._steps += 1
        self._images += num_images

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Do not count the time of what runs inside (evaluation, checkpoints)."""
        self._meter.count_time("working")
        begin = time.monotonic()
        yield
        self._since += time.monotonic() - begin
        self._meter.count_time("evaluating")

    def cost(self) -> Cost | None:
        """Return what the stage has cost over all sessions, inside of a pause; all hosts together."""
        self._meter.read_energy()
        self._meter.count_time("evaluating")
        return self._meter.cost()

    def metrics(self, steps_left: int) -> dict[str, float]:
        """Return the speed since the last reading, and start a new interval."""
        elapsed_secs = max(time.monotonic() - self._since, 1e-9)
        metrics = {
            "speed/images_per_second": self._images / elapsed_secs,
            "speed/data_wait_share": self._wait_secs / elapsed_secs,
            "speed/eta_secs": steps_left * elapsed_secs / max(self._steps, 1),
        }
        self.restart()
        return metrics

    def restart(self) -> None:
        """Start a new interval."""
        self._since = time.monotonic()
        self._wait_secs = 0.0
        self._steps = 0
        self._images = 0
