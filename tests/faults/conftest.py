"""What the tests of signals share."""

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture
def default_sigint() -> Iterator[None]:
    """Let commands be interrupted though pytest was started in the background, where Ctrl-C is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
