"""The order of the examples in each epoch: complete, even, and the same on every machine."""

import numpy as np
import pytest

from selftrain_jax.data.sampling import (
    example_index,
    generator_permutation,
    interleave,
    raw_permutation,
)
from selftrain_jax.data.source import label_fraction


@pytest.mark.parametrize("permutation", [raw_permutation, generator_permutation])
def test_every_epoch_holds_each_example_once_in_a_new_order(permutation) -> None:
    epochs = [
        [example_index(position, 7, 3, permutation=permutation) for position in range(7 * e, 7 * e + 7)]
        for e in range(3)
    ]
    assert epochs == [permutation(7, 3, e).tolist() for e in range(3)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_order_is_the_same_on_every_machine() -> None:
    """A changed order would silently change every experiment: a bug, not a new golden value."""
    assert raw_permutation(12, 0, 0).tolist() == [7, 6, 4, 5, 3, 9, 1, 0, 2, 8, 10, 11]
    assert raw_permutation(12, 0, 1).tolist() == [2, 1, 4, 7, 6, 10, 0, 8, 11, 9, 3, 5]
    assert raw_permutation(12, 1000, 0).tolist() == [5, 10, 1, 0, 8, 3, 6, 9, 7, 4, 11, 2]
    assert [example_index(position, 12, 0) for position in (0, 11, 12, 23)] == [7, 11, 2, 5]


def pcg64(seed: np.random.SeedSequence, count: int) -> list[int]:
    """PCG XSL RR 128/64 of O'Neill's paper (2014), in Python's integers."""
    words = [int(word) for word in seed.generate_state(4, np.uint64)]
    mask, multiplier = 2**128 - 1, 0x2360ED051FC65DA44385DF649FCCF645
    increment = ((words[2] << 64 | words[3]) << 1 | 1) & mask
    state = ((increment + (words[0] << 64 | words[1])) * multiplier + increment) & mask
    outputs = []
    for _ in range(count):
        state = (state * multiplier + increment) & mask
        folded, turn = (state >> 64 ^ state) & (2**64 - 1), state >> 122
        outputs.append((folded >> turn | folded << (-turn & 63)) & (2**64 - 1))
    return outputs


def test_order_sorts_the_numbers_of_the_published_generator() -> None:
    numbers = pcg64(np.random.SeedSequence((1002, 4, 1)), 1000)
    assert raw_permutation(1000, 1002, 4).tolist() == sorted(range(1000), key=numbers.__getitem__)


def test_equal_numbers_stay_in_the_order_of_their_indices(monkeypatch: pytest.MonkeyPatch) -> None:
    class Coarse:
        """A generator of three different numbers, so that nearly all are equal."""

        def __init__(self, seed: np.random.SeedSequence) -> None:
            del seed

        def random_raw(self, count: int) -> np.ndarray:
            return np.arange(count, dtype=np.uint64)[::-1] % np.uint64(3)

    monkeypatch.setattr(np.random, "PCG64", Coarse)
    keys = (np.arange(100)[::-1] % 3).tolist()
    assert raw_permutation(100, 0, 0).tolist() == sorted(range(100), key=keys.__getitem__)


def test_every_example_is_about_equally_often_at_every_offset() -> None:
    counts = np.zeros((10, 10))
    for epoch in range(4000):
        counts[np.arange(10), raw_permutation(10, 0, epoch)] += 1
    # Binomial(4000, 0.1): mean 400, deviation 19; five deviations are 95.
    assert np.abs(counts - 400).max() < 95


def test_sampling_draws_other_numbers_than_the_choice_of_labels() -> None:
    labelled, _ = label_fraction(20, 20, seed=0, fold=0)
    assert set(raw_permutation(20, 0, 0)[:4].tolist()) != set(labelled.tolist())


def test_old_order_stays_reachable() -> None:
    """Folders from before `raw_permutation` resume with it: a NumPy that changes it cannot resume them."""
    assert generator_permutation(12, 0, 0).tolist() == [9, 2, 7, 4, 5, 11, 0, 3, 6, 10, 8, 1]
    assert generator_permutation(12, 1000, 0).tolist() == [4, 9, 10, 11, 6, 7, 2, 3, 1, 0, 8, 5]


@pytest.mark.parametrize(
    "weights", [(1.0, 1.0), (2.0, 1.0, 1.0), (0.3, 0.1, 0.6), (1.0, 1e-3), (0.7, 0.1, 0.1, 0.1)]
)
def test_sources_alternate_by_weight_and_no_position_of_one_is_left_out(weights) -> None:
    slot_at = interleave(weights)
    slots = [slot_at(position) for position in range(3000)]
    counts = [0] * len(weights)
    for position, (source, own) in enumerate(slots, start=1):
        assert own == counts[source]  # counts up, one by one
        counts[source] += 1
        for count, weight in zip(counts, weights, strict=True):
            assert abs(count - position * weight / sum(weights)) < len(weights)
    assert slot_at(2999) == slots[2999]


@pytest.mark.parametrize(("weights", "size"), [((0.5, 0.25, 0.25), 8), ((0.1, 0.2), 3), ((3.0, 1.0), 4)])
def test_a_batch_has_exactly_the_shares_where_they_are_whole_images(weights, size) -> None:
    slot_at = interleave(weights)
    expected = [round(size * weight / sum(weights)) for weight in weights]
    for step in (0, 1, 2, 10**9, 10**15):
        found = [slot_at(size * step + offset).source for offset in range(size)]
        assert [found.count(source) for source in range(len(weights))] == expected


def test_one_source_has_every_position() -> None:
    assert [interleave([0.5])(position) for position in (0, 7)] == [(0, 0), (0, 7)]
