"""What a compiler has freed goes back to the system before the compiled program runs."""

import ctypes

import jax

COMPILED = "/jax/core/compile/backend_compile_duration"  # JAX's event; a program from the cache has it, too
MIN_SECS = 0.5  # a shorter compilation leaves little behind


def release_after_compiling() -> None:
    """From now on, return what a long compilation has freed to the system.

    glibc would keep it, a gigabyte after a training step was compiled, and the step's arrays would come on
    top of that.
    """
    jax.monitoring.register_event_duration_secs_listener(_release)


def _release(event: str, duration_secs: float, **_: str | int) -> None:
    if event == COMPILED and duration_secs >= MIN_SECS:
        trim_heap()


def trim_heap() -> None:
    """Return this process's free memory to the system, where the C library is glibc; else do nothing."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
