"""What a stream must not leave behind: threads that read, and tf.data iterators."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from selftrain_jax.threads import hanging_reads

ITERATORS = ("NumpyIterator", "OwnedIterator")  # TensorFlow's


def live_iterators() -> set[int]:
    """Find the tf.data iterators of this process."""
    return {id(found) for found in gc.get_objects() if type(found).__name__ in ITERATORS}


@contextmanager
def nothing_left() -> Iterator[None]:
    """Check at the end of a block that no thread reads and no iterator lives that was not there before."""
    gc.collect()
    threads, iterators = set(hanging_reads()), live_iterators()
    gc.disable()  # a cycle would be found too late when a process ends
    try:
        yield
        assert set(hanging_reads()) <= threads
        assert live_iterators() <= iterators
    finally:
        gc.enable()
