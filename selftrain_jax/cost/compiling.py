"""Seconds spent on compiling, from the events that JAX reports; enter `clock.listening()`."""

import functools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import jax

EVENTS = (
    "/jax/core/compile/jaxpr_trace_duration",
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "/jax/core/compile/backend_compile_duration",  # a program from the cache has it, too
)


class CompileClock:
    """Seconds in which this thread traced, lowered or compiled, each second once.

    JAX reports an event at its end, with its duration, and events lie in each other: a traced function traces
    those that it calls. So spans are merged. Other threads compile beside the work of this one, and are left
    out.
    """

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._spans: list[tuple[float, float]] = []  # begin and end, in order, apart from each other

    def record(self, event: str, duration_secs: float) -> None:
        """Add an event that ends now; of another name or thread it is ignored."""
        if event not in EVENTS or threading.get_ident() != self._thread:
            return
        end = time.monotonic()
        begin = end - duration_secs
        while self._spans and self._spans[-1][1] > begin:
            begin = min(begin, self._spans.pop()[0])
        self._spans.append((begin, end))

    def take_secs(self) -> float:
        """Return the seconds since the last call."""
        secs = sum((end - begin for begin, end in self._spans), start=0.0)
        self._spans.clear()
        return secs

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Record JAX's events inside."""
        _register()
        _listening.append(self)
        try:
            yield
        finally:
            _listening.remove(self)


# Older versions of JAX cannot remove a listener: one stays for good, and tells these.
_listening: list[CompileClock] = []


@functools.cache
def _register() -> None:
    jax.monitoring.register_event_duration_secs_listener(_tell)


def _tell(event: str, duration_secs: float, **_: str | int) -> None:
    for clock in _listening:
        clock.record(event, duration_secs)
