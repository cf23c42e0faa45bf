import threading
import time

import pytest

from selftrain_jax.data.batch_timeout import Reading, with_timeout
from selftrain_jax.errors import RunAgainError


def test_items_come_in_order_and_errors_come_through():
    def stream():
        yield from range(50)
        raise ValueError("bad")

    items = with_timeout(5.0, stream(), lambda: "")
    assert [next(items) for _ in range(50)] == list(range(50))
    with pytest.raises(ValueError, match="bad"):
        next(items)
    assert list(with_timeout(5.0, iter("abc"), lambda: "")) == ["a", "b", "c"]


def test_a_stream_that_hangs_ends_the_run_and_names_the_image():
    reading, release = Reading(), threading.Event()

    def stream():
        yield 1
        with reading.note("slow.jpg"):
            release.wait(20)

    items = with_timeout(0.3, stream(), reading.describe)
    assert next(items) == 1
    began = time.monotonic()
    with pytest.raises(RunAgainError, match=r"no batch for 0.3 s .*being read: slow.jpg \(for 0 s\)"):
        next(items)
    assert time.monotonic() - began < 5
    release.set()
    assert "the augmentation hangs" in Reading().describe()


def test_a_stream_that_is_left_is_not_read_on():
    seen = []

    def stream():
        for number in range(100):
            seen.append(number)
            yield number

    items = with_timeout(5.0, stream(), lambda: "")
    next(items)
    items.close()
    time.sleep(1.2)
    assert len(seen) <= 4
    assert not [thread for thread in threading.enumerate() if thread.name.endswith("(pull)")]
