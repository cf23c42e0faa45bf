"""The student's batches."""

import itertools

import numpy as np

from selftrain_jax.selftrain.mixing import mix_batches
from selftrain_jax.types import Batch, BoxTargets


def stream_of(value: float, is_pseudo: bool):
    def stream(start_step: int):
        for step in itertools.count(start_step):
            images = np.full((2, 4, 4, 3), value + step, np.float32)
            boxes = np.full((2, 1, 4), value + step, np.float32)
            ones = np.ones((2, 1), bool)
            targets = BoxTargets(boxes, ones.astype(np.int32), ones, ~ones)
            yield Batch(images, targets, np.full(2, is_pseudo)), [f"{value}-{step}-{i}" for i in range(2)]

    return stream


def test_human_and_pseudo_images_alternate_with_their_targets_and_ids() -> None:
    batch, ids = next(mix_batches(stream_of(0, False), stream_of(100, True))(5))
    np.testing.assert_array_equal(batch.is_pseudo, [False, True, False, True])
    np.testing.assert_array_equal(batch.images[:, 0, 0, 0], [5, 105, 5, 105])
    np.testing.assert_array_equal(batch.targets.boxes[:, 0, 0], [5, 105, 5, 105])
    assert ids == ["0-5-0", "100-5-0", "0-5-1", "100-5-1"]


def test_every_even_slice_is_half_human() -> None:
    batch, _ = next(mix_batches(stream_of(0, False), stream_of(100, True))(0))
    for start in range(0, 4, 2):
        assert batch.is_pseudo[start : start + 2].sum() == 1
