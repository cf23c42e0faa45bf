"""Reading ahead: what is loaded, dispatched and yielded when."""

import time
from contextlib import closing, suppress

import numpy as np
import pytest

from selftrain_jax.data.source import Source, decode_image, encode_png
from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.inference import Loaded, chunks_in_order, run_ahead
from selftrain_jax.threads import hanging_reads


def source_of(num_images, bad=()):
    """Image i is 4 x (i + 1) px and grey of value i; those in `bad` do not decode."""
    ids = tuple(f"image-{index}" for index in range(num_images))

    def read_encoded(index):
        image = np.full((4, index + 1, 3), index, np.uint8)
        return b"no image" if index in bad else encode_png(image)

    return Source(
        "toy", (), ids, lambda index: {}, read_encoded, lambda index: decode_image(read_encoded(index), "toy")
    )


class Log:
    """Which images were loaded, and which rows of which values were dispatched."""

    def __init__(self):
        self.loaded, self.dispatched = [], []

    def load(self, image):
        self.loaded.append(int(image[0, 0, 0]))
        return image, image.shape

    def dispatch(self, rows):
        self.dispatched.append({row: int(image.inputs[0, 0, 0]) for row, image in rows.items()})
        return sum(self.dispatched[-1].values())

    def run(self, chunks, source, batches_ahead=1):
        return run_ahead(
            chunks,
            source=source,
            load=self.load,
            dispatch=self.dispatch,
            batches_ahead=batches_ahead,
            num_threads=2,
        )


def test_chunks_cover_a_source_in_order():
    assert chunks_in_order(5, 2) == [(0, range(0, 2)), (0, range(2, 4)), (0, range(4, 5))]
    assert chunks_in_order(0, 2) == []


def test_chunks_come_in_order_with_their_shard_images_and_results():
    log = Log()
    found = list(log.run([(3, [1, 0]), (4, [2])], source_of(3, bad=(0,))))
    assert [(shard, result) for shard, _, result in found] == [(3, 1), (4, 2)]
    assert log.dispatched == [{0: 1}, {0: 2}]
    (first, bad), (second,) = (images for _, images, _ in found)
    assert isinstance(bad, InputError)
    assert "image image-0 of toy" in str(bad)
    for image, index in ((first, 1), (second, 2)):
        assert isinstance(image, Loaded)
        assert image[:3] == (f"image-{index}", source_of(3).read_encoded(index), (4, index + 1))
        assert image.geometry == (4, index + 1, 3)
        assert image.inputs is None  # dropped after the dispatch


@pytest.mark.parametrize("batches_ahead", [1, 2])
def test_a_chunk_comes_after_the_next_is_dispatched_and_few_are_loaded(batches_ahead):
    log = Log()
    stream = log.run(chunks_in_order(20, 2), source_of(20), batches_ahead)
    for number in range(1, 4):
        next(stream)
        assert len(log.dispatched) == number + 1
        assert len(log.loaded) <= 2 * (number + 1 + batches_ahead)
    assert len(list(stream)) == 7
    assert sorted(log.loaded) == list(range(20))


def test_whoever_leaves_ends_the_threads_and_what_waits_is_not_loaded():
    log = Log()

    def load(image):
        time.sleep(0.05)
        return Log.load(log, image)

    log.load = load
    began = time.monotonic()
    with (
        suppress(KeyboardInterrupt),
        closing(log.run(chunks_in_order(400, 2), source_of(400), batches_ahead=100)) as stream,
    ):
        next(stream)
        raise KeyboardInterrupt
    assert time.monotonic() - began < 4  # what is ahead takes 5 s
    assert len(log.loaded) < 20
    assert not hanging_reads()


def test_an_error_of_the_network_ends_the_threads():
    log = Log()
    log.dispatch = lambda rows: 1 / 0
    with pytest.raises(ZeroDivisionError):
        list(log.run(chunks_in_order(40, 2), source_of(40), batches_ahead=10))
    assert not hanging_reads()
