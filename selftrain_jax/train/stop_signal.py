"""SIGTERM: a loop that trains saves first, everything else ends at once, since files are whole or absent.

`main` calls `end_on_sigterm`; the loop asks `deferred_stop` at every step.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import jax
from jax.experimental.multihost_utils import reached_preemption_sync_point

from selftrain_jax.errors import RunAgainError

IsStopping = Callable[[int], bool]


def end_on_sigterm() -> None:
    """From now on SIGTERM raises RunAgainError where the main thread is."""
    signal.signal(signal.SIGTERM, _raise)


@contextmanager
def deferred_stop() -> Iterator[IsStopping]:
    """Collect SIGTERM; the function that it gives is asked at each step and tells whether to stop there.

    On many hosts JAX lets all of them stop at the same step, whoever got the signal.

    Raises:
        RunAgainError: SIGTERM came after the loop had asked for the last time.
    """
    if jax.process_count() > 1:
        yield reached_preemption_sync_point
        return
    if threading.current_thread() is not threading.main_thread():  # where Python takes no signals
        yield lambda step: False
        return
    has_come = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: has_come.set())
    try:
        yield lambda step: has_come.is_set()
    finally:
        signal.signal(signal.SIGTERM, before)
    if has_come.is_set():
        raise RunAgainError("stopped by SIGTERM after the last step, saved")


def _raise(number: int, frame: FrameType | None) -> None:
    raise RunAgainError(f"stopped by {signal.Signals(number).name}")
