"""Training batches: what is where, what is padded, and what happens to bad images."""

import threading
import time
from contextlib import closing, suppress
from dataclasses import replace

import numpy as np
import pytest

from selftrain_jax import threads
from selftrain_jax.augment.policies import augment_policy
from selftrain_jax.data.pipeline import Reader, make_batches, take_steps
from selftrain_jax.data.sampling import generator_permutation, raw_permutation
from selftrain_jax.data.source import Source
from selftrain_jax.demo.builtin import read_builtin
from selftrain_jax.errors import InputError, RunAgainError
from selftrain_jax.tasks.detection.targets import box_targets
from tests.leftovers import live_iterators, nothing_left

pytestmark = pytest.mark.tf


def source_of(num_images: int = 6, bad: tuple[int, ...] = (), num_boxes: int = 2) -> Source:
    """Images whose pixels are their index; the ones in `bad` do not decode."""

    def read_image(index: int) -> np.ndarray:
        if index in bad:
            raise InputError(f"image {index}.jpg is damaged")
        return np.full((32, 32, 3), index, np.uint8)

    def read_labels(index: int) -> dict:
        boxes = np.tile(np.array([[4, 4, 20, 20]], np.float32), (num_boxes, 1))
        crowd = np.arange(num_boxes) == 1
        classes = np.full(num_boxes, index + 1, np.int32)
        return {"image_id": f"{index}.jpg", "boxes": boxes, "classes": classes, "is_crowd": crowd}

    ids = tuple(f"{i}.jpg" for i in range(num_images))
    return Source("toy", (), ids, read_labels, lambda index: b"", read_image)  # type: ignore


def batches_of(source: Source, *, seed: int = 0, policy: str = "s1", max_boxes: int = 4, **settings):
    augment = augment_policy(policy, output_size_px=32)
    settings = {"batch_size": 3, **settings}
    return make_batches(source, box_targets(max_boxes), augment=augment, seed=seed, **settings)


@pytest.mark.parametrize("permutation", [raw_permutation, generator_permutation])
def test_stream_has_the_order_of_the_permutation_it_is_given(permutation) -> None:
    batches = batches_of(source_of(6), seed=3, permutation=permutation)
    ids = [image_id for _, batch_ids in take_steps(batches, 1, 3) for image_id in batch_ids]
    order = [*permutation(6, 3, 0)[3:], *permutation(6, 3, 1)]
    assert ids == [f"{index}.jpg" for index in order]


def test_stream_has_the_raw_order_unless_told_otherwise() -> None:
    ids = [
        image_id
        for _, batch_ids in take_steps(batches_of(source_of(6), seed=3), 0, 2)
        for image_id in batch_ids
    ]
    assert ids == [f"{index}.jpg" for index in raw_permutation(6, 3, 0)]


def test_stream_started_later_equals_the_rest_of_the_stream() -> None:
    source = read_builtin("train", num_images=8, image_size_px=64)
    augment = augment_policy("s4", output_size_px=64, reference_size_px=640)
    batches = make_batches(source, box_targets(16), augment=augment, batch_size=4, seed=5)
    whole, rest = take_steps(batches, 0, 4), take_steps(batches, 2, 2)
    for (batch, ids), (later, later_ids) in zip(whole[2:], rest, strict=True):
        assert ids == later_ids
        for first, second in zip(batch.targets, later.targets, strict=True):
            np.testing.assert_array_equal(first, second)
        np.testing.assert_array_equal(batch.images, later.images)


def test_another_seed_gives_other_augmentations() -> None:
    source = read_builtin("train", num_images=1, image_size_px=64)
    first, second = (
        take_steps(batches_of(source, seed=seed, max_boxes=16), 0, 1)[0][0].images for seed in (0, 1)
    )
    assert np.abs(first - second).max() > 0.1


def test_boxes_are_padded_and_crowds_left_out() -> None:
    batch, ids = take_steps(batches_of(source_of(), is_pseudo=True), 0, 1)[0]
    np.testing.assert_array_equal(batch.targets.valid, [[True, False, False, False]] * 3)
    assert (batch.targets.boxes[:, 1:] == 0).all()
    assert [f"{c - 1}.jpg" for c in batch.targets.classes[:, 0]] == ids
    assert batch.is_pseudo.all()


def test_bad_image_is_replaced_by_its_neighbour_and_counted() -> None:
    reader = Reader(source_of(4, bad=(1,)), max_bad_images=1)
    assert [reader(index)[0] for index in (0, 1, 2, 1)] == [0, 2, 2, 2]


def test_one_bad_image_too_many_names_the_files() -> None:
    batches = batches_of(source_of(6, bad=(1, 4)), max_bad_images=1)
    with pytest.raises(InputError, match=r"2 images .* allowed are 1 .*\.jpg is damaged.*\.jpg is damaged"):
        take_steps(batches, 0, 3)  # a later reader of the same image may be the one that counts it


def test_all_images_bad_is_an_error() -> None:
    with pytest.raises(InputError, match="no image of toy can be read"):
        Reader(source_of(2, bad=(0, 1)), max_bad_images=5)(0)


def test_image_with_more_boxes_than_slots_names_the_key() -> None:
    with pytest.raises(InputError, match=r"has 5 boxes, but config.image.max_boxes is 4; raise it"):
        take_steps(batches_of(source_of(num_boxes=6)), 0, 1)


def test_empty_source_is_an_error() -> None:
    with pytest.raises(InputError, match="has no example"):
        batches_of(source_of(0))


def reading_slowly(source: Source, reads: list[int], secs: float = 0.02) -> Source:
    """Let every read take its time, and note it."""

    def read_image(index: int) -> np.ndarray:
        reads.append(index)
        time.sleep(secs)
        return source.read_image(index)

    return replace(source, read_image=read_image)


@pytest.mark.parametrize("num_taken", [0, 1, 3])
def test_a_stream_that_is_left_reads_no_further_and_leaves_no_iterator(num_taken: int) -> None:
    reads: list[int] = []
    with nothing_left():
        with (
            suppress(KeyboardInterrupt),
            closing(batches_of(reading_slowly(source_of(), reads))(0)) as stream,
        ):
            for _ in range(num_taken):
                next(stream)
            assert num_taken == 0 or live_iterators()
            raise KeyboardInterrupt
        num_reads = len(reads)
    time.sleep(0.3)
    assert len(reads) == num_reads


@pytest.mark.parametrize("fault", [InputError("image 4.jpg is damaged"), RuntimeError("a bug")])
def test_an_error_of_a_read_leaves_no_iterator_though_the_error_is_kept(fault: Exception) -> None:
    def read_image(index: int) -> np.ndarray:
        if index == 4:
            raise fault
        return np.zeros((32, 32, 3), np.uint8)

    source = replace(source_of(), read_image=read_image)
    with nothing_left():
        with pytest.raises(Exception, match=str(fault)) as raised:
            take_steps(batches_of(source), 0, 9)
        assert raised.tb is not None  # its frames live on, as in a process that ends with this error


def test_a_disk_that_is_dead_ends_the_stream_and_keeps_only_its_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "MAX_JOIN_SECS", 0.2)
    release = threading.Event()
    source = source_of()
    dead = replace(source, read_image=lambda index: release.wait(30) and source.read_image(index))
    began = time.monotonic()
    with nothing_left():
        with pytest.raises(RunAgainError, match=r"no batch for 4 s .*being read: \d.jpg"):
            take_steps(batches_of(dead, max_stall_secs=4.0), 0, 1)
        assert time.monotonic() - began < 20
        (thread,) = threads.hanging_reads()
        release.set()
        thread.join(10)
