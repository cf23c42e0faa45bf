"""The section of a search: tables and pictures against numbers by hand, at every stage of the search."""

import dataclasses

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from selftrain_jax.html.blocks import Details, Heading, Note, Plots, Table
from selftrain_jax.html.plots import ROLE_COLORS
from selftrain_jax.report.search import search_section
from selftrain_jax.report.search_plots import mean_scores, score_curve, score_map, value_axis
from selftrain_jax.run_files.search import Search, SearchPoint, SearchTest
from tests.html.html_page import Page, render_section

ALPHA, THRESHOLD = "selftrain.alpha", "pseudo.threshold"
VALS = {0.25: (0.30, 0.32), 1.0: (0.36, 0.40), 4.0: (0.35, 0.33)}  # by alpha, of two seeds


def search_of(grid: dict, scores: dict, seeds: tuple[int, ...] = (0, 1), **more) -> Search:
    """Make a search whose `scores` are by the values of the grid's keys, a score for each seed."""
    search = Search.start("ap", grid, seeds)
    for values, vals in scores.items():
        for seed, val in zip(seeds or (0,), vals, strict=False):
            named = dict(zip(grid, values if isinstance(values, tuple) else (values,), strict=True))
            search = search.with_point(SearchPoint(values=named, seed=seed, variant="v", val=val))
    return dataclasses.replace(search, **more)


@pytest.fixture
def alphas() -> Search:
    test = (
        SearchTest(seed=0, variant="a", teacher=0.28, control=0.30, student=0.34),
        SearchTest(seed=1, variant="b", teacher=0.26, control=0.32, student=0.35),
    )
    return search_of({ALPHA: tuple(VALS)}, VALS, chosen={ALPHA: 1.0}, test=test)


@pytest.fixture
def pairs() -> Search:
    scores = {(1.0, 0.5): (0.3, 0.4), (1.0, 0.9): (0.2,), (2.0, 0.9): (0.5, 0.5)}
    chosen = {ALPHA: 2.0, THRESHOLD: 0.9}
    return search_of({ALPHA: (1.0, 2.0), THRESHOLD: (0.5, 0.9)}, scores, chosen=chosen)


def test_one_key_is_a_curve_of_means_with_seeds_and_the_chosen_value(alphas: Search) -> None:
    axes = score_curve(alphas, "AP").figure.axes[0]
    *dots, means, chosen = axes.lines
    np.testing.assert_allclose(means.get_xdata(), [0.25, 1, 4])
    np.testing.assert_allclose(means.get_ydata(), [31, 38, 34])
    assert [sorted(dot.get_ydata()) for dot in dots] == [
        pytest.approx(x) for x in ([30, 32], [36, 40], [33, 35])
    ]
    assert list(chosen.get_xdata()) == [1.0, 1.0]
    assert axes.get_xscale() == "log"
    band = axes.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(38 + 8**0.5)  # sd of 36 and 40 with n - 1 is sqrt(8)


def test_values_out_of_order_and_not_measured_are_placed_on_the_axis() -> None:
    search = search_of({ALPHA: (3.0, 1.0, 2.0)}, {3.0: (0.3,), 1.0: (0.1,)}, seeds=())
    axes = score_curve(search, "AP").figure.axes[0]
    (means,) = axes.lines
    np.testing.assert_allclose(means.get_xydata(), [[1, 10], [3, 30]])
    assert [text.get_text() for text in axes.get_xticklabels()] == ["3", "1", "2"]
    low, high = axes.get_xlim()
    assert low < 1 < 3 < high


@pytest.mark.parametrize(
    ("values", "places", "is_log"),
    [
        ((0.25, 0.5, 1.0, 2.0, 3.0), [0.25, 0.5, 1, 2, 3], True),
        ((0.001, 0.1, 0.01), [0.001, 0.1, 0.01], True),
        ((0.5, 0.7, 0.9), [0.5, 0.7, 0.9], False),
        ((0.0, 1.0, 10.0), [0, 1, 10], False),
        ((1, 100), [1, 100], False),
        (("s1", "s4", "s2"), [0, 1, 2], False),
        ((True, False), [0, 1], False),
    ],
)
def test_the_axis_is_logarithmic_where_ratios_are_even(values, places, is_log) -> None:
    assert value_axis(values) == (places, is_log)


def test_two_keys_are_a_map_with_the_chosen_pair_framed(pairs: Search) -> None:
    np.testing.assert_allclose(mean_scores(pairs), [[35, 20], [np.nan, 50]])
    axes = score_map(pairs, "AP").figure.axes[0]
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert texts == {(0, 0): "35.0", (1, 0): "20.0", (1, 1): "50.0"}
    cells, frame = axes.collections
    opacities = [color[3] for color in cells.get_facecolors()]
    assert opacities[2] > opacities[0] > opacities[1]
    corners = frame.get_paths()[0].vertices
    np.testing.assert_allclose([corners.min(axis=0), corners.max(axis=0)], [[0.52, 0.52], [1.48, 1.48]])
    np.testing.assert_allclose(frame.get_edgecolors(), [to_rgba(ROLE_COLORS["ink"])])


def test_three_keys_are_a_table(pairs: Search) -> None:
    grid = {**pairs.grid, "seed2": ("a",)}
    search = search_of(grid, {(1.0, 0.5, "a"): (0.3, 0.4), (2.0, 0.9, "a"): (0.5,)})
    note, table = search_section(search, "AP").blocks
    assert note == Note("3 of 8 points are measured so far.", "warning")
    assert table == Table(
        [ALPHA, THRESHOLD, "seed2", "AP on val", "sd", "seeds"],
        [["2", "0.9", "a", "50.00", "\u2013", "1"], ["1", "0.5", "a", "35.00", "7.07", "2"]],
        [],
    )


def test_the_chosen_point_has_its_numbers_on_test(alphas: Search) -> None:
    drawn, listed, heading, table = search_section(alphas, "AP").blocks
    assert isinstance(drawn, Plots)
    assert isinstance(listed, Details)
    assert listed.block.rows[0] == ["1", "38.00", "2.83", "2"]
    assert listed.block.strong_rows == [0]
    assert heading == Heading("selftrain.alpha=1 on test, AP")
    assert table.rows == [
        ["seed 0", "28.0", "30.0", "34.0", "+4.0", "+6.0"],
        ["seed 1", "26.0", "32.0", "35.0", "+3.0", "+9.0"],
        ["mean (sd)", "27.0 (1.4)", "31.0 (1.4)", "34.5 (0.7)", "+3.5 (0.7)", "+7.5 (2.1)"],
    ]


def test_a_search_on_its_way_says_how_far_it_is() -> None:
    begun = search_of({ALPHA: (1.0, 2.0)}, {})
    assert search_section(begun, "AP").blocks == []
    assert search_section(None, "AP").blocks == []
    waiting = begun.with_point(SearchPoint(values={ALPHA: 1.0}, seed=0, variant="v", val=None))
    note, table = search_section(waiting, "AP").blocks
    assert note.text == "0 of 4 points are measured so far."
    assert table.rows == [["1", "\u2013", "\u2013", "0"]]
    chosen = search_of({ALPHA: (1.0,)}, {1.0: (0.5,)}, seeds=(), chosen={ALPHA: 1.0})
    assert search_section(chosen, "AP").blocks[-1].text == (
        "Chosen: selftrain.alpha=1. It is not measured on test yet."
    )


def test_a_stage_that_was_not_trained_is_missing_in_the_table_of_test() -> None:
    test = (SearchTest(seed=0, variant="v", teacher=0.28, control=None, student=0.34),)
    search = search_of({ALPHA: (1.0,)}, {1.0: (0.5,)}, seeds=(), chosen={ALPHA: 1.0}, test=test)
    table = search_section(search, "AP").blocks[-1]
    assert table.rows == [["seed 0", "28.0", "\u2013", "34.0", "\u2013", "+6.0"]]
    assert table.strong_rows == []


def test_hostile_keys_and_values_stay_text() -> None:
    grid = {"<script>$x$": ("</svg>\udcff", "a" * 300), "b": (1, 2)}
    scores = {("</svg>\udcff", 1): (0.5, 0.5), ("a" * 300, 2): (0.1, 0.2)}
    for keys in (1, 2):
        own = dict(list(grid.items())[:keys])
        search = search_of(own, {key[:keys]: vals for key, vals in scores.items()})
        page = Page(render_section(search_section(search, "AP")))
        assert "script" not in {tag for tag, _ in page.tags}
