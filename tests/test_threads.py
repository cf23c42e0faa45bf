"""Threads that read data end with whoever started them, and a read that hangs does not hold the process."""

import pathlib
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

from selftrain_jax import threads
from selftrain_jax.threads import hanging_reads, start_thread, thread_pool

ROOT = pathlib.Path(__file__).parents[1]
HANGING = """
import sys, threading
from selftrain_jax.threads import end_process_if_reads_hang, start_thread, thread_pool
from selftrain_jax import threads
threads.MAX_JOIN_SECS = 0.1
def end(error):
    try:
        raise error
    except BaseException as raised:
        print("last words")
        end_process_if_reads_hang(raised)
        raise
"""


def test_a_pool_that_is_left_drops_what_has_not_begun() -> None:
    begun = []

    def work(number: int) -> None:
        begun.append(number)
        time.sleep(0.05)

    began = time.monotonic()
    with suppress(KeyboardInterrupt), thread_pool(2) as pool:
        for number in range(1000):
            pool.submit(work, number)
        raise KeyboardInterrupt
    assert time.monotonic() - began < 5  # all of it takes 25 s
    assert len(begun) < 100
    assert not hanging_reads()


def test_a_pool_maps_in_order_and_ends() -> None:
    with thread_pool(3) as pool:
        assert list(pool.map(lambda number: -number, range(50))) == [-number for number in range(50)]
        assert hanging_reads()
    assert not hanging_reads()


def test_a_read_that_hangs_is_left_behind_and_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "MAX_JOIN_SECS", 0.1)
    release = threading.Event()
    began = time.monotonic()
    with thread_pool(1) as pool:
        pool.submit(release.wait, 30)
    start_thread(lambda: bool(release.wait(30)) and None)
    assert time.monotonic() - began < 5
    assert len(hanging_reads()) == 2
    release.set()
    threads.join(hanging_reads())
    time.sleep(0.1)
    assert not hanging_reads()


@pytest.mark.parametrize(
    "reader", ["start_thread(threading.Event().wait)", "pool.submit(threading.Event().wait)"]
)
@pytest.mark.parametrize(
    ("error", "code"), [("SystemExit(2)", 2), ("SystemExit()", 0), ("RuntimeError('a bug')", 1)]
)
def test_a_process_ends_at_once_though_a_read_hangs(reader: str, error: str, code: int) -> None:
    script = f"{HANGING}with thread_pool(1) as pool: {reader}\nend({error})"
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=20
    )
    assert ended.returncode == code
    assert ended.stdout == "last words\n"
    assert ("RuntimeError: a bug" in ended.stderr) == (code == 1)
