"""The speed of training: images per second, share of time spent waiting for data, time left.

The loop calls `fetch` for every batch and `count` after its update, wraps evaluation in `pause`, and reads
`metrics` at each line of the log.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from selftrain_jax.types import Batch


class Speed:
    """Counters since the last reading; `training_secs` includes earlier sessions and pauses."""

    def __init__(self, earlier_secs: float = 0.0) -> None:
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
        begin = time.monotonic()
        batch, image_ids = next(stream)
        waited_secs = time.monotonic() - begin
        if is_idle():
            self._wait_secs += waited_secs
        return batch, image_ids

    def count(self, num_images: int) -> None:
        """Count a finished update."""
        self._steps += 1
        self._images += num_images

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Do not count the time of what runs inside (evaluation, checkpoints)."""
        begin = time.monotonic()
        yield
        self._since += time.monotonic() - begin

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
