"""Threads that read data, and that they have ended before the process does.

A thread that waits for Python while the interpreter shuts down never returns, and whatever waits for that
thread hangs: destroying a `tf.data` iterator does. So all that reads in threads runs in `start_thread` or in
`thread_pool`, and whoever leaves waits for the threads. Only a read that hangs (a dead disk) is left behind;
`end_process_if_reads_hang` is for that case.
"""

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from selftrain_jax.errors import BUG

MAX_JOIN_SECS = 5.0
NUM_READERS = max(4, os.cpu_count() or 1)  # of images; reading waits for disks, so few cores still have four
_PREFIX = "selftrain-reader"


def start_thread(target: Callable[[], None]) -> threading.Thread:
    """Start a thread that `hanging_reads` counts as long as it lives."""
    thread = threading.Thread(target=target, name=_PREFIX, daemon=True)
    thread.start()
    return thread


@contextmanager
def thread_pool(num_threads: int) -> Iterator[ThreadPoolExecutor]:
    """Give a pool to a block; on the way out what has not begun is cancelled and what has is waited for.

    Unlike the pool's own `with`, which works through all that is queued, and waits forever.
    """
    prefix = f"{_PREFIX}-{time.monotonic_ns()}"
    pool = ThreadPoolExecutor(num_threads, thread_name_prefix=prefix)
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        join(thread for thread in threading.enumerate() if thread.name.startswith(prefix))


def join(threads: Iterable[threading.Thread]) -> None:
    """Wait until threads have ended, `MAX_JOIN_SECS` for all together."""
    deadline = time.monotonic() + MAX_JOIN_SECS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


def hanging_reads() -> list[threading.Thread]:
    """Return the threads of this module that have not ended."""
    return [thread for thread in threading.enumerate() if thread.name.startswith(_PREFIX)]


def end_process_if_reads_hang(error: BaseException) -> None:
    """End the process at once, as `error` would, if a thread still reads; call it last.

    The interpreter's own end would wait for that thread, with a dead disk forever. Files are written whole or
    not at all, so nothing is lost.
    """
    if not hanging_reads():
        return
    if not isinstance(error, SystemExit):
        traceback.print_exception(error)
    code = error.code if isinstance(error, SystemExit) else BUG
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0)
