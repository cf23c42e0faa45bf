"""A run ends when no batch arrives for too long (a dead network disk, above all) and says what it waited for.

Wrap any stream of batches in `with_timeout`; a `Reading` knows which images are being read.
"""

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, TypeVar

from selftrain_jax.errors import RunAgainError
from selftrain_jax.threads import join, start_thread

T = TypeVar("T")
MAX_LISTED = 5
_END = object()


class Reading:
    """The images that are being read at the moment, by any thread."""

    def __init__(self) -> None:
        self._since: dict[int, tuple[str, float]] = {}

    @contextmanager
    def note(self, image_id: str) -> Iterator[None]:
        """List an image while the block runs."""
        key = threading.get_ident()
        self._since[key] = image_id, time.monotonic()
        try:
            yield
        finally:
            del self._since[key]

    def begun(self) -> list[tuple[str, float]]:
        """Return the images, and since when by `time.monotonic` each has been read."""
        return list(self._since.copy().values())

    def describe(self) -> str:
        """Name the images that have been read for longest."""
        return describe_readings([self])


def describe_readings(readings: Iterable[Reading]) -> str:
    """Name the images of several sources that have been read for longest."""
    now, begun = time.monotonic(), [entry for reading in readings for entry in reading.begun()]
    oldest = sorted(begun, key=lambda entry: entry[1])[:MAX_LISTED]
    named = ", ".join(f"{image_id} (for {now - since:.0f} s)" for image_id, since in oldest)
    return f"being read: {named}" if named else "no image is being read: the augmentation hangs"


def with_timeout(
    max_secs: float, stream: Generator[T, None, None], describe: Callable[[], str]
) -> Generator[T, None, None]:
    """Yield what a stream yields; it runs in a thread of its own, one item ahead.

    When this ends or is closed, the stream is closed too and its thread has ended, unless the stream hangs.

    Raises:
        RunAgainError: an item took longer than `max_secs`; `describe` says what was being done.
        Exception: whatever the stream raises.
    """
    items: queue.Queue[Any] = queue.Queue(maxsize=1)
    is_over = threading.Event()

    def pull() -> None:
        try:
            with closing(stream):
                for item in stream:
                    items.put(item)
                    if is_over.is_set():
                        return
            items.put(_END)
        except BaseException as error:
            if not is_over.is_set():
                items.put(error)

    thread = start_thread(pull)
    try:
        while (item := _take(items, max_secs, describe)) is not _END:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        is_over.set()
        with suppress(queue.Empty):
            items.get_nowait()  # the thread may be waiting for room in the queue; it puts one item more
        join([thread])


def _take(items: "queue.Queue[Any]", max_secs: float, describe: Callable[[], str]) -> Any:
    try:
        return items.get(timeout=max_secs)
    except queue.Empty:
        raise RunAgainError(
            f"no batch for {max_secs:g} s (config.data.max_stall_secs); {describe()}. Check the disk or the "
            "network that the data comes from"
        ) from None
