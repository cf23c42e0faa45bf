"""Where the student's batches have pseudo-labelled images."""

import pytest

from selftrain_jax.selftrain.mixing import period, positions_of_pseudo


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
