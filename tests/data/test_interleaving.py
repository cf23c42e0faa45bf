"""Batches of several sources: the rows are those of each source's own batches, made and placed ahead."""

import threading

import jax
import numpy as np
import pytest

from selftrain_jax.augment.policies import augment_policy
from selftrain_jax.data.pipeline import batch_examples, make_batches, make_examples, take_steps
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.mixing import positions_of_pseudo
from selftrain_jax.tasks.detection.targets import box_targets
from selftrain_jax.train.sharding import make_mesh, shard_batch
from selftrain_jax.types import Batch
from tests.data.test_pipeline import source_of
from tests.leftovers import nothing_left

pytestmark = pytest.mark.tf

HUMAN = dict(augment=augment_policy("s1", output_size_px=32), seed=3)
PSEUDO = dict(augment=augment_policy("s4", output_size_px=32), seed=503, is_pseudo=True)
TARGETS = box_targets(4)


def mixed(num_human: int, num_pseudo: int, pseudo: Source | None = None, **settings):
    streams = [
        make_examples(source_of(6), TARGETS, batch_size=num_human, **HUMAN),
        make_examples(pseudo or source_of(5), TARGETS, batch_size=num_pseudo, **PSEUDO),
    ]
    origins = positions_of_pseudo(num_human, num_pseudo).astype(int).tolist()
    return batch_examples(streams, origins, **settings)


def assert_same(found: Batch, expected: Batch) -> None:
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize(("num_human", "num_pseudo"), [(2, 2), (4, 2), (1, 3)])
def test_rows_are_those_of_each_sources_own_batches(num_human: int, num_pseudo: int) -> None:
    human = take_steps(make_batches(source_of(6), TARGETS, batch_size=num_human, **HUMAN), 1, 3)
    pseudo = take_steps(make_batches(source_of(5), TARGETS, batch_size=num_pseudo, **PSEUDO), 1, 3)
    found = take_steps(mixed(num_human, num_pseudo), 1, 3)
    is_pseudo = positions_of_pseudo(num_human, num_pseudo)
    for (batch, ids), *parts in zip(found, human, pseudo, strict=True):
        np.testing.assert_array_equal(batch.is_pseudo, is_pseudo)
        for rows, (part, part_ids) in zip((~is_pseudo, is_pseudo), parts, strict=True):
            assert_same(jax.tree.map(lambda leaf, rows=rows: leaf[rows], batch), part)
            assert [ids[row] for row in np.flatnonzero(rows)] == part_ids


def test_mixture_started_later_equals_the_rest() -> None:
    for (batch, ids), (later, later_ids) in zip(
        take_steps(mixed(2, 2), 0, 4)[2:], take_steps(mixed(2, 2), 2, 2), strict=True
    ):
        assert ids == later_ids
        assert_same(later, batch)


def test_batches_are_placed_on_the_devices_by_the_thread_that_reads_ahead() -> None:
    mesh, placed_by, second = make_mesh(), [], threading.Event()

    def place(batch: Batch) -> Batch:
        placed_by.append(threading.current_thread())
        if len(placed_by) == 2:
            second.set()
        return shard_batch(mesh, batch)

    with nothing_left():
        stream = mixed(2, 2, place=place)(0)
        batch, _ = next(stream)
        assert second.wait(60), "the second batch is placed before it is asked for"
        stream.close()
    assert threading.current_thread() not in placed_by
    assert isinstance(batch.images, jax.Array)
    assert batch.images.sharding.device_set == set(mesh.devices.flat)
    (expected, _), *_ = take_steps(mixed(2, 2), 0, 1)
    assert_same(jax.device_get(batch), expected)


def test_bad_image_of_one_source_ends_the_mixture_and_leaves_nothing() -> None:
    with nothing_left(), pytest.raises(InputError, match=r"images of toy cannot be read.*2\.jpg is damaged"):
        take_steps(mixed(2, 2, source_of(5, bad=(2,))), 0, 9)


def test_every_image_of_a_batch_needs_its_origin() -> None:
    streams = [make_examples(source_of(6), TARGETS, batch_size=2, **HUMAN)]
    with pytest.raises(AssertionError):
        batch_examples(streams, [0, 0, 0])
