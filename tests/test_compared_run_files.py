"""Rounds, variants and searches: their files and their folders."""

import json
import pathlib

import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.run_files.rounds import Round, Rounds, compared_folder, round_folder
from selftrain_jax.run_files.search import Search, SearchPoint
from selftrain_jax.run_files.variants import differing_values, variant_folders
from tests import run_files as examples

PATH = pathlib.Path("run/rounds.json")


def test_rounds_from_scores_keep_the_first_of_the_best():
    rounds = Rounds.from_vals([0.25, 0.5, 0.5, 0.125], stopped_early=True)
    assert rounds.rounds[3] == Round(round=4, val=0.125)
    assert (rounds.kept, rounds.stopped_early) == (2, True)
    assert Rounds.from_vals([0.5, 0.25], kept=2).kept == 2
    assert Rounds.from_json(rounds.to_json(), PATH) == rounds


def test_folders_of_rounds():
    run, rounds = pathlib.Path("run"), Rounds.from_vals([0.5, 0.25, 0.125])
    assert [round_folder(run, number) for number in (1, 2)] == [run, run / "round_2"]
    for kind in ("control", "control_half", "oracle"):
        assert compared_folder(run, None, kind) == run / kind
        assert compared_folder(run, Rounds.from_vals([0.5]), kind) == run / kind
        assert compared_folder(run, rounds, kind) == run / "round_3" / kind


def test_a_search_grows_point_by_point_and_its_best_is_the_mean_over_seeds():
    search = Search.start("ap", {"a": (1, 2), "b": ("x", "y")}, (0, 1))
    assert search.best() is None
    assert search.combinations() == [{"a": a, "b": b} for a in (1, 2) for b in ("x", "y")]
    measured = {(2, "y", 0): 0.5, (2, "y", 1): 0.25, (1, "x", 0): 0.75, (1, "x", 1): 0.0, (1, "y", 0): -1.0}
    for (a, b, seed), val in measured.items():
        search = search.with_point(SearchPoint(values={"a": a, "b": b}, seed=seed, variant="v", val=val))
    assert search.vals({"a": 2, "b": "y"}) == (0.5, 0.25)
    assert search.vals({"a": 1, "b": "y"}) == ()  # undefined
    assert search.best() == {"a": 1, "b": "x"}  # both means are 0.375: the first in the grid
    better = search.with_point(SearchPoint(values={"b": "y", "a": 2}, seed=1, variant="v", val=0.5))
    assert len(better.points) == len(search.points)
    assert better.best() == {"a": 2, "b": "y"}
    assert Search.from_json(json.loads(json.dumps(better.to_json())), PATH) == better


def test_two_points_of_the_same_values_and_seed_are_refused():
    first = examples.SEARCH["points"][0]
    with pytest.raises(InputError, match="two points have the same values and seed"):
        Search.from_json({**examples.SEARCH, "points": [first, {**first, "variant": "other"}]}, PATH)


def test_configs_are_compared_by_dotted_key():
    base = {"a": {"b": 1, "c": [1]}, "d": 2}
    assert differing_values(base, base) == {}
    assert differing_values(base, {"a": {"b": 1.5, "c": [1]}, "e": {}}) == {
        "a.b": [1, 1.5],
        "d": [2, None],
        "e": [None, {}],
    }


def test_variants_are_ordered_by_the_numbers_in_their_names(tmp_path):
    assert variant_folders(tmp_path) == {}
    names = ["alpha=0.25", "alpha=0.5", "alpha=2", "alpha=10", "b"]
    for name in [*names[::-1], ".begun"]:
        (tmp_path / "variants" / name).mkdir(parents=True)
    (tmp_path / "variants/note.txt").touch()
    assert variant_folders(tmp_path) == {name: tmp_path / "variants" / name for name in names}
