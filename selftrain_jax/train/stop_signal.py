"""SIGTERM: training saves first; all else ends at once, since files are written whole or not at all."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import jax
from jax.experimental.multihost_utils import reached_preemption_sync_point

from selftrain_jax.errors import RunAgainError

IsStopping = Callable[[int], bool]


class StoppedError(RunAgainError, KeyboardInterrupt):
    """SIGTERM was received.

    A KeyboardInterrupt too, since that is what others let through: asyncio, in which Orbax restores
    checkpoints in the main thread, logs every other error of a callback and goes on.
    """


def end_on_sigterm() -> None:
    """Make SIGTERM raise StoppedError in the main thread from now on."""
    signal.signal(signal.SIGTERM, _raise)


@contextmanager
def deferred_stop() -> Iterator[IsStopping]:
    """Hold SIGTERM back; the loop calls the yielded function at each step to learn whether to stop there.

    With many hosts, JAX makes all of them stop at the same step, whichever got the signal.

    Raises:
        RunAgainError: SIGTERM was received after the last call of that function.
    """
    if jax.process_count() > 1:
        yield reached_preemption_sync_point
        return
    if threading.current_thread() is not threading.main_thread():  # only the main thread gets signals
        yield lambda step: False
        return
    is_received = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: is_received.set())
    try:
        yield lambda step: is_received.is_set()
    finally:
        signal.signal(signal.SIGTERM, before)
    if is_received.is_set():
        raise RunAgainError("stopped by SIGTERM after the last step, saved")


def _raise(number: int, frame: FrameType | None) -> None:
    raise StoppedError(f"stopped by {signal.Signals(number).name}")
