"""Which images are chosen: by hand, against brute force, and never two that look alike."""

import itertools

import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.selection.choose import Looks, choose, nearest_distances, parse_criteria

OFF = -1  # of max_distance
FAR = np.random.default_rng(7).integers(0, 2**63, 64, dtype=np.uint64)  # hashes that differ in many bits


def looks(points=(), hashes=None, num=0) -> Looks:
    features = np.array(points, np.float32).reshape(len(points) or num, -1 if len(points) else 0)
    return Looks(features, FAR[: len(features)] if hashes is None else np.array(hashes, np.uint64))


NONE = looks([], [])


def line(*positions: float) -> Looks:
    return looks([[position] for position in positions])


def by_score(values, budget, **settings):
    scores = {"uncertainty": np.array(values, np.float64)}
    candidates = settings.pop("candidates", looks(num=len(values)))
    return choose(("uncertainty",), budget, scores=scores, candidates=candidates, labelled=NONE, **settings)


def test_k_center_takes_the_farthest_from_labelled_and_chosen_by_hand():
    # From 0: the farthest is 10. Then 3 is 3 from 0, and 8 is 2 from 10. Then 8.
    chosen = choose(
        ("diversity",), 3, scores={}, candidates=line(0, 3, 8, 10), labelled=line(0), max_distance=OFF
    )
    assert chosen.indices == (3, 1, 2)
    np.testing.assert_allclose(chosen.distances, [10, 3, 2])
    assert chosen.radius == (10, 0)


def test_what_is_labelled_already_counts():
    candidates = line(0, 3, 8, 10)
    first = choose(("diversity",), 1, scores={}, candidates=candidates, labelled=line(9), max_distance=OFF)
    assert first.indices == (0,)


@pytest.mark.parametrize("seed", range(20))
def test_covering_radius_is_at_most_twice_the_best(seed):
    rng = np.random.default_rng(seed)
    points, labelled = rng.normal(size=(8, 2)), rng.normal(size=(2, 2))
    chosen = choose(
        ("diversity",), 3, scores={}, candidates=looks(points), labelled=looks(labelled), max_distance=OFF
    )

    def radius(indices) -> float:
        centers = np.concatenate([labelled, points[list(indices)]])
        return np.linalg.norm(points[:, None] - centers[None], axis=-1).min(1).max()

    best = min(radius(indices) for indices in itertools.combinations(range(8), 3))
    assert chosen.radius is not None
    assert chosen.radius[1] == pytest.approx(radius(chosen.indices), abs=1e-5)
    assert best - 1e-6 <= chosen.radius[1] <= 2 * best + 1e-6


def test_distances_agree_with_norms_over_blocks():
    rng = np.random.default_rng(3)
    points, centers = rng.normal(size=(2500, 5)), rng.normal(size=(7, 5))
    expected = np.linalg.norm(points[:, None] - centers[None], axis=-1).min(1)
    found = nearest_distances(points.astype(np.float32), centers.astype(np.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.isinf(nearest_distances(points, centers[:0])).all()


def test_the_highest_score_comes_first():
    assert by_score([0.1, 0.9, 0.5], 2).indices == (1, 2)


def test_criteria_are_averaged_by_rank():
    # Ranks of uncertainty 0, .5, 1; of rarity .5, 1, 0: means .25, .75, .5.
    scores = {"uncertainty": np.array([1.0, 2.0, 900.0]), "rarity": np.array([5.0, 6.0, 4.0])}
    chosen = choose(("uncertainty", "rarity"), 3, scores=scores, candidates=looks(num=3), labelled=NONE)
    assert chosen.indices == (1, 2, 0)


def test_diversity_picks_among_the_first_by_the_other_criteria():
    # The pool of 2 * 2 is 0, 1, 2, 3; the farthest, 100, is in none.
    scores = {"uncertainty": np.array([9.0, 8.0, 7.0, 6.0, 1.0])}
    settings = {
        "scores": scores,
        "candidates": line(1, 2, 3, 5, 100),
        "labelled": line(0),
        "max_distance": OFF,
    }
    by = ("uncertainty", "diversity")
    assert choose(by, 2, pool_factor=2, **settings).indices == (
        3,
        1,
    )  # 5; then 2 and 3 are equally far, 2 is first
    assert choose(by, 2, pool_factor=3, **settings).indices[0] == 4


def test_where_the_pool_is_used_up_the_rest_follows():
    scores = {"uncertainty": np.array([9.0, 8.0, 7.0])}
    candidates = looks([[1], [2], [9]], [FAR[5], FAR[5], FAR[6]])
    chosen = choose(
        ("uncertainty", "diversity"), 2, scores=scores, candidates=candidates, labelled=line(0), pool_factor=1
    )
    assert sorted(chosen.indices)[1] == 2


def test_near_duplicates_are_never_both_chosen_nor_like_labelled_ones():
    close = FAR[0] ^ np.uint64(0b111111)  # 6 bits
    hashes = [FAR[0], close, FAR[1], FAR[2] ^ np.uint64(1)]
    chosen = choose(
        ("uncertainty",),
        4,
        scores={"uncertainty": np.array([4.0, 3.0, 2.0, 1.0])},
        candidates=looks([[0.0]] * 4, hashes),
        labelled=looks([[0.0]] * 2, FAR[2:4]),
    )
    assert chosen.indices == (0, 2)
    assert (chosen.like_labelled, chosen.like_chosen) == (1, 1)
    seven = FAR[0] ^ np.uint64(0b1111111)
    assert by_score([2, 1], 2, candidates=looks([[0.0]] * 2, [FAR[0], seven])).indices == (0, 1)
    assert by_score([2, 1], 2, candidates=looks([[0.0]] * 2, [FAR[0]] * 2), max_distance=OFF).indices == (
        0,
        1,
    )


@pytest.mark.parametrize("by", ["random", "uncertainty", "diversity", "uncertainty,rarity,diversity"])
def test_no_two_of_many_look_alike_and_the_same_seed_chooses_the_same(by):
    rng = np.random.default_rng(1)
    hashes = FAR[rng.integers(0, 20, 60)] ^ (np.uint64(1) << rng.integers(0, 64, 60).astype(np.uint64))
    candidates = looks(rng.normal(size=(60, 4)), hashes)
    scores = {name: rng.normal(size=60) for name in ("uncertainty", "rarity") if name in by}
    settings = {
        "scores": scores,
        "candidates": candidates,
        "labelled": looks(rng.normal(size=(3, 4)), FAR[:3]),
    }
    chosen = choose(parse_criteria(by), 15, seed=4, **settings)
    assert len(set(chosen.indices)) == len(chosen.indices) > 10
    pairs = itertools.combinations([*hashes[list(chosen.indices)], *FAR[:3]], 2)
    assert all(int(one ^ other).bit_count() > 6 for one, other in pairs)
    assert chosen == choose(parse_criteria(by), 15, seed=4, **settings)


def test_equals_are_in_an_order_by_seed():
    orders = {by_score([1.0] * 6, 6, seed=seed).indices for seed in range(8)}
    assert len(orders) == 8
    assert all(sorted(order) == list(range(6)) for order in orders)


def test_random_is_uniform_and_a_larger_budget_holds_the_smaller():
    def draw(budget, seed):
        return choose(
            ("random",), budget, scores={}, candidates=looks(num=10), labelled=NONE, seed=seed
        ).indices

    assert draw(7, 0)[:3] == draw(3, 0)
    first = np.bincount([draw(1, seed)[0] for seed in range(2000)], minlength=10)
    assert first.min() > 150  # of 200 expected, standard deviation 13
    assert first.max() < 250


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("entropy", "'entropy' in it is none of uncertainty, rarity, diversity, random"),
        ("", "it is none of"),
        ("rarity,rarity", "each criterion once"),
        ("random,rarity", "random without others"),
    ],
)
def test_criteria_that_do_not_exist_or_do_not_fit_are_refused(text, words):
    with pytest.raises(InputError, match=words):
        parse_criteria(text)


def test_criteria_may_have_spaces():
    assert parse_criteria(" rarity, diversity ") == ("rarity", "diversity")
