"""Rounds, variants and searches: their files, their folders, and labels at a threshold that was moved."""

import json
import pathlib

import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.run_files.manifest import Histogram, Manifest
from selftrain_jax.run_files.quality import Quality
from selftrain_jax.run_files.rounds import Round, Rounds, control_folder, round_folder
from selftrain_jax.run_files.search import Search, SearchPoint
from selftrain_jax.run_files.threshold import summarize_labels
from selftrain_jax.run_files.variants import differing_values, variant_folders
from selftrain_jax.tasks.detection.run_files import BoxTotals
from selftrain_jax.tasks.segmentation.run_files import MaskTotals
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
    assert control_folder(run, None) == control_folder(run, Rounds.from_vals([0.5])) == run / "control"
    assert control_folder(run, rounds) == run / "round_3" / "control"


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


@pytest.mark.parametrize(
    ("threshold", "precision", "recall"),
    [(0.05, 0.5, 0.8), (0.5, 1.0, 0.4), (0.275, 0.75, 0.6), (0.04, None, None), (0.51, None, None)],
)
def test_quality_between_two_thresholds_is_in_proportion_and_outside_unknown(threshold, precision, recall):
    found = Quality.from_json(examples.BOX_QUALITY, PATH).at(threshold)
    assert found == pytest.approx({"precision": precision, "recall": recall})


def test_quality_beside_an_undefined_value_is_known_at_its_own_threshold_alone():
    curves = {"precision": [0.5, None], "recall": [0.5, 0.25]}
    quality = Quality.from_json({**examples.BOX_QUALITY, "overall": curves}, PATH)
    assert quality.at(0.05)["precision"] == 0.5
    assert quality.at(0.3)["precision"] is None
    assert Quality.from_json(
        {
            **examples.BOX_QUALITY,
            "thresholds": [],
            "overall": {"precision": [], "recall": []},
            "per_class": {},
        },
        PATH,
    ).at(0.5) == {"precision": None, "recall": None}


@pytest.mark.parametrize(("edge", "count"), [(0, 12), (0.25, 11), (0.5, 10), (0.9, 2), (1, 0)])
def test_a_histogram_counts_from_an_edge(edge, count):
    assert Histogram(edges=(0.0, 0.5, 1.0), counts=(2, 10)).count_from(edge) == count


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


MADE = {"config": {"pseudo": {"threshold": 0.5, "per_class_thresholds": "cat=0.4"}}}


@pytest.mark.parametrize(
    ("provenance", "threshold", "by_class", "expected"),
    [
        (MADE, 0.5, "cat=0.4", {"boxes": 3, "precision": 1.0, "recall": 0.4}),
        (MADE, 0.5, "cat=0.6", {"precision": None, "recall": None}),
        (MADE, 0.05, "", {"boxes": 5, "precision": 0.5, "recall": 0.8}),  # 9 / 10 of the 2 in the first bin
        ({}, 0.5, "", {"boxes": 3, "precision": 1.0, "recall": 0.4}),
        ({}, 0.75, "", {"boxes": 2, "precision": None, "recall": None}),
    ],
)
def test_labels_are_counted_at_the_threshold_of_the_config(provenance, threshold, by_class, expected):
    plain = {key: value for key, value in examples.BOX_MANIFEST.items() if key != "config"}
    manifest = Manifest.from_json({**plain, **provenance}, PATH, BoxTotals)
    config = {"pseudo": {"threshold": threshold, "per_class_thresholds": by_class}}
    found = summarize_labels(manifest, Quality.from_json(examples.BOX_QUALITY, PATH), config).to_json()
    assert {key: found[key] for key in ("boxes", "precision", "recall") if key in found} == expected


def test_coverage_of_masks_follows_the_threshold():
    manifest = Manifest.from_json(examples.MASK_MANIFEST, PATH, MaskTotals)
    found = summarize_labels(manifest, None, {"pseudo": {"threshold": 0.75}}).to_json()
    assert (found["pixels"], found["coverage"], found["miou"]) == (6, 0.25, None)
    found = summarize_labels(manifest, None, {"pseudo": {"threshold": 0.5}}).to_json()
    assert (found["pixels"], found["coverage"]) == (12, 0.5)
