import re
import threading
import time

import pytest

from selftrain_jax import threads
from selftrain_jax.data.batch_timeout import Reading, describe_readings, with_timeout
from selftrain_jax.errors import RunAgainError
from selftrain_jax.threads import hanging_reads


def test_items_come_in_order_and_errors_come_through():
    def stream():
        yield from range(50)
        raise ValueError("bad")

    items = with_timeout(5.0, stream(), lambda: "")
    assert [next(items) for _ in range(50)] == list(range(50))
    with pytest.raises(ValueError, match="bad"):
        next(items)
    assert list(with_timeout(5.0, (letter for letter in "abc"), lambda: "")) == ["a", "b", "c"]
    assert not hanging_reads()


def test_a_stream_that_hangs_ends_the_run_and_names_the_image(monkeypatch):
    monkeypatch.setattr(threads, "MAX_JOIN_SECS", 0.1)
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
    (thread,) = hanging_reads()
    release.set()
    thread.join(5)
    assert not hanging_reads()
    assert "the augmentation hangs" in Reading().describe()


def test_a_stream_that_is_left_is_not_read_on():
    seen, closed_by = [], []

    def stream():
        try:
            for number in range(100):
                seen.append(number)
                yield number
        finally:
            closed_by.append(threading.current_thread())

    for num_read in (1, 3):
        seen.clear()
        items = with_timeout(5.0, stream(), lambda: "")
        assert [next(items) for _ in range(num_read)] == list(range(num_read))
        while len(seen) < num_read + 2:
            time.sleep(0.01)  # until the thread waits for room in the queue
        time.sleep(0.05)
        began = time.monotonic()
        items.close()
        assert time.monotonic() - began < 2
        assert len(seen) <= num_read + 3
        assert not hanging_reads()
    assert len(closed_by) == 2
    assert threading.current_thread() not in closed_by  # but the one that reads, before it ends


def test_images_of_several_sources_are_named_by_how_long_they_have_been_read():
    human, pseudo = Reading(), Reading()
    noted, release = threading.Barrier(2), threading.Event()

    def read(reading, image_id):
        with reading.note(image_id):
            noted.wait(20)
            release.wait(20)

    readers = [(pseudo, "first.jpg"), (human, "second.jpg"), (pseudo, "third.jpg")]
    running = [threading.Thread(target=read, args=reader) for reader in readers]
    for thread in running:
        thread.start()
        noted.wait(20)  # until this one has begun
    found = describe_readings([human, pseudo])
    release.set()
    for thread in running:
        thread.join(20)
    assert re.sub(r"for \d+ s", "", found) == "being read: first.jpg (), second.jpg (), third.jpg ()"
