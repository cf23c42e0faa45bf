import numpy as np

from selftrain_jax.contrastive import neighbours
from selftrain_jax.contrastive.neighbours import knn_accuracy, vote


def unit(degrees) -> np.ndarray:
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=-1)


def test_near_ones_outvote_many_far_ones() -> None:
    """A view at 0 degrees has one neighbour of class 1 at 1 degree, and 19 of class 0 at 60 degrees."""
    bank, classes = unit([1.0, *[60.0] * 19]), np.array([1, *[0] * 19])
    assert vote(bank, classes, unit([0.0])).tolist() == [1]
    assert vote(bank, classes, unit([60.0])).tolist() == [0]


def test_share_of_right_answers_in_parts(monkeypatch) -> None:
    rng = np.random.default_rng(0)
    classes = np.arange(90) % 3
    bank = unit(120.0 * classes + rng.normal(size=90))
    queries = unit(120.0 * (np.arange(10) % 3))
    truth = np.where(np.arange(10) < 4, np.arange(10) % 3, 2 - np.arange(10) % 3)
    expected = np.mean(truth == np.arange(10) % 3)
    for rows in (1024, 3):
        monkeypatch.setattr(neighbours, "ROWS_AT_ONCE", rows)
        assert knn_accuracy(bank, classes, queries, truth) == expected


def test_bank_of_fewer_images_than_neighbours() -> None:
    assert knn_accuracy(unit([0.0, 90.0]), np.array([4, 7]), unit([10.0]), np.array([4])) == 1
