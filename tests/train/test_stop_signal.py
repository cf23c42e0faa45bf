"""SIGTERM gets through whatever the main thread is doing."""

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from selftrain_jax.errors import RunAgainError
from selftrain_jax.train.stop_signal import end_on_sigterm


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    end_on_sigterm()
    yield
    signal.signal(signal.SIGTERM, before)


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


@pytest.mark.parametrize(
    "work",
    [send, decode_nothing, lambda: asyncio.run(restore())],
    ids=["plain", "except-exception", "asyncio"],
)
def test_sigterm_is_not_swallowed(work) -> None:
    with pytest.raises(RunAgainError, match="stopped by SIGTERM"):
        work()
