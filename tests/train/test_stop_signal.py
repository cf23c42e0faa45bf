"""SIGTERM gets through whatever the main thread is doing."""

import asyncio
import contextlib
import gc
import os
import signal
import sys
import time
from collections.abc import Iterator

import pytest

from selftrain_jax.errors import RunAgainError
from selftrain_jax.train.stop_signal import StoppedError, deferred_stop, end_on_sigterm, restated_stop


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    before, hook = signal.getsignal(signal.SIGTERM), sys.unraisablehook
    end_on_sigterm()
    with restated_stop():  # it forgets the signal afterwards
        yield
    signal.signal(signal.SIGTERM, before)
    sys.unraisablehook = hook


def send() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def decode_nothing() -> None:
    try:
        send()
    except Exception as error:
        raise ValueError("the image is damaged") from error


async def restore() -> None:
    asyncio.get_running_loop().call_soon(send)  # a callback's errors are logged, all but two kinds
    await asyncio.sleep(0.2)


def collect_garbage() -> None:
    """Get the signal where Python ignores errors, then work on."""
    gc.callbacks.append(send_at_start)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(send_at_start)
    time.sleep(2.0)


def send_at_start(phase: str, facts: dict[str, int]) -> None:
    if phase == "start":
        send()


class Sending:
    def __del__(self) -> None:
        send()


def delete() -> None:
    Sending()
    time.sleep(2.0)


@pytest.mark.parametrize(
    "work",
    [send, decode_nothing, lambda: asyncio.run(restore()), collect_garbage, delete],
    ids=["plain", "except-exception", "asyncio", "gc", "del"],
)
def test_sigterm_is_not_swallowed(work) -> None:
    with pytest.raises(RunAgainError, match="stopped by SIGTERM"):
        work()


def replace_the_error() -> None:
    """Do as JAX's tracing does in places."""
    try:
        send()
    except:  # noqa: E722
        raise TypeError("not a valid JAX type") from None


def test_sigterm_that_a_library_replaces_is_restated_as_a_stop() -> None:
    with pytest.raises(StoppedError, match="stopped by SIGTERM") as caught, restated_stop():
        replace_the_error()
    assert isinstance(caught.value.__cause__, TypeError)


def test_an_error_without_sigterm_is_not_restated_even_after_an_earlier_stop() -> None:
    with pytest.raises(StoppedError), restated_stop():
        replace_the_error()
    with pytest.raises(TypeError, match="another"), restated_stop():
        raise TypeError("another")


def test_sigterm_that_a_library_swallowed_stops_the_training_that_follows() -> None:
    with contextlib.suppress(StoppedError):
        send()
    with pytest.raises(RunAgainError, match="after the last step"), deferred_stop() as is_stopping:
        assert is_stopping(1)
    with deferred_stop() as is_stopping:
        assert not is_stopping(1)
