"""The student's batches."""

import itertools

import numpy as np
import pytest

from selftrain_jax.selftrain.mixing import mix_batches, period, positions_of_pseudo
from selftrain_jax.types import Batch, BoxTargets


def stream_of(value: float, is_pseudo: bool, size: int = 2):
    def stream(start_step: int):
        for step in itertools.count(start_step):
            images = np.full((size, 4, 4, 3), value + step, np.float32)
            boxes = np.full((size, 1, 4), value + step, np.float32)
            ones = np.ones((size, 1), bool)
            targets = BoxTargets(boxes, ones.astype(np.int32), ones, ~ones)
            yield (
                Batch(images, targets, np.full(size, is_pseudo)),
                [f"{value}-{step}-{i}" for i in range(size)],
            )

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


@pytest.mark.parametrize("bad_half", [0, 1])
@pytest.mark.parametrize("num_good", [0, 2])
def test_both_halves_are_closed_when_one_of_them_fails(bad_half: int, num_good: int) -> None:
    closed = []

    def half(index: int, batches):
        def stream(start_step: int):
            try:
                yield from itertools.islice(batches(start_step), num_good if index == bad_half else None)
                raise ValueError("a bad image")
            finally:
                closed.append(index)

        return stream

    mixed = mix_batches(half(0, stream_of(0, False)), half(1, stream_of(100, True)))(0)
    for _ in range(num_good):
        next(mixed)
    with pytest.raises(ValueError, match="a bad image") as raised:
        next(mixed)
    # A half that was never asked for anything has nothing to close.
    assert set(closed) == ({0} if (bad_half, num_good) == (0, 0) else {0, 1}), raised


def test_both_halves_are_closed_with_the_mixture() -> None:
    halves = []

    def keep(batches):
        def stream(start_step: int):
            halves.append(batches(start_step))
            return halves[-1]

        return stream

    mixed = mix_batches(keep(stream_of(0, False)), keep(stream_of(100, True)))(0)
    next(mixed)
    mixed.close()
    assert [half.gi_frame for half in halves] == [None, None]


@pytest.mark.parametrize(
    ("num_human", "num_pseudo", "pattern"),
    [(2, 2, "hphp"), (3, 1, "hhhp"), (1, 3, "hppp"), (4, 2, "hhphhp"), (6, 2, "hhhphhhp"), (3, 2, "hhphp")],
)
def test_images_of_either_source_are_spread_evenly(num_human: int, num_pseudo: int, pattern: str) -> None:
    is_pseudo = positions_of_pseudo(num_human, num_pseudo)
    assert "".join("hp"[flag] for flag in is_pseudo.astype(int)) == pattern
    length = period(num_human, num_pseudo)
    slices = is_pseudo.reshape(-1, length).sum(axis=1)
    assert set(slices.tolist()) == {num_pseudo * length // (num_human + num_pseudo)}


def test_unequal_parts_keep_their_order_their_targets_and_their_ids() -> None:
    batch, ids = next(mix_batches(stream_of(0, False, size=4), stream_of(100, True))(5))
    assert ids == ["0-5-0", "0-5-1", "100-5-0", "0-5-2", "0-5-3", "100-5-1"]
    np.testing.assert_array_equal(batch.is_pseudo, [False, False, True, False, False, True])
    np.testing.assert_array_equal(batch.images[:, 0, 0, 0], [5, 5, 105, 5, 5, 105])
    np.testing.assert_array_equal(batch.targets.boxes[:, 0, 0], [5, 5, 105, 5, 5, 105])
