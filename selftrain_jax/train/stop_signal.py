"""SIGTERM: training saves first; all else ends at once, since files are written whole or not at all."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import jax
from jax.experimental.multihost_utils import reached_preemption_sync_point

from selftrain_jax.errors import RunAgainError

RETRY_SECS = 0.01

IsStopping = Callable[[int], bool]

_is_received = threading.Event()  # SIGTERM was, and what it raised has not left `restated_stop` or the loop


class StoppedError(RunAgainError, KeyboardInterrupt):
    """SIGTERM was received.

    A KeyboardInterrupt too, since that is what others let through: asyncio, in which Orbax restores
    checkpoints in the main thread, logs every other error of a callback and goes on.
    """


def end_on_sigterm() -> None:
    """Make SIGTERM raise StoppedError in the main thread from now on, where Python passes errors on."""
    signal.signal(signal.SIGTERM, _raise)
    sys.unraisablehook = _send_again


@contextmanager
def restated_stop() -> Iterator[None]:
    """Raise StoppedError in place of any error that leaves the block after SIGTERM was received.

    JAX's tracing has bare `except:` clauses, which replace what the signal raised by errors of their own.

    Raises:
        StoppedError: SIGTERM was received.
    """
    try:
        yield
    except Exception as error:
        if not _is_received.is_set():
            raise
        raise StoppedError("stopped by SIGTERM") from error
    finally:
        _is_received.clear()


@contextmanager
def deferred_stop() -> Iterator[IsStopping]:
    """Hold SIGTERM back; the loop calls the yielded function at each step to learn whether to stop there.

    With many hosts, JAX makes all of them stop at the same step, whichever got the signal. A SIGTERM from
    before the block counts if a library swallowed what it raised.

    Raises:
        RunAgainError: SIGTERM was received after the last call of that function.
    """
    if jax.process_count() > 1:
        yield reached_preemption_sync_point
        return
    if threading.current_thread() is not threading.main_thread():  # only the main thread gets signals
        yield lambda step: False
        return
    before = signal.signal(signal.SIGTERM, lambda *_: _is_received.set())
    is_stopped = False
    try:
        yield lambda step: _is_received.is_set()
    finally:
        signal.signal(signal.SIGTERM, before)
        is_stopped = _is_received.is_set()
        _is_received.clear()
    if is_stopped:
        raise RunAgainError("stopped by SIGTERM after the last step, saved")


def _raise(number: int, frame: FrameType | None) -> None:
    _is_received.set()
    raise StoppedError(f"stopped by {signal.Signals(number).name}")


def _send_again(unraisable: "sys.UnraisableHookArgs") -> None:
    """Take what Python would print and forget: errors in `__del__` and in callbacks of gc and weakref."""
    if issubclass(unraisable.exc_type, StoppedError):
        threading.Timer(RETRY_SECS, os.kill, (os.getpid(), signal.SIGTERM)).start()
    else:
        sys.__unraisablehook__(unraisable)
