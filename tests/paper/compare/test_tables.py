"""Tables with our numbers beside the paper's, as golden text, and the three forms."""

import pytest

from selftrain_jax.paper.compare.results import read_results
from selftrain_jax.paper.compare.tables import arrange_as_published, compare_row, format_comparison
from selftrain_jax.paper.rows import TABLES, find_row, rows
from selftrain_jax.text import MINUS, NO_VALUE
from tests.paper.compare.runs import write_diverged, write_run

TEXT = """\
Table 7: COCO val AP, the paper's / ours: mean ± standard deviation (n runs, difference). \
3 of 8 rows have results.
               Sup. Training                     w/ Self-training           \
w/ Joint Training  w/ Self-training w/ Joint Training
Rand Init      30.7 / 31.00 ± 1.00 (n=3, +0.30)  34.1 / 33.10 (n=1, -1.00)  \
33.6 / -           35.1 / -
ImageNet Init  33.3 / 33.20 (n=1, -0.10)         36.0 / -                   \
34.0 / -           36.6 / -"""


@pytest.fixture
def results(tmp_path):
    write_run(tmp_path, "7", 1, 1, teacher=31.0)
    write_run(tmp_path, "7", 1, 2, teacher=32.0)
    write_run(tmp_path, "7", 2, 0, teacher=30.0, student=33.1)
    write_run(tmp_path, "7", 5, 0, teacher=33.2)
    return read_results(tmp_path)


def plain(text: str) -> str:
    """Write minus signs and dashes as one can type them."""
    return text.replace(MINUS, "-").replace(NO_VALUE, "-")


def test_table_7_has_the_papers_layout_with_our_numbers(results) -> None:
    # Three teachers of 30, 31 and 32 (one from the student's run): mean 31, deviation 1, 0.3 above 30.7.
    assert plain(format_comparison("7", results)) == TEXT


def test_markdown_has_a_rule_and_a_cell_for_every_column(results) -> None:
    title, blank, head, rule, *lines = plain(format_comparison("3", results, "markdown")).splitlines()
    assert title.endswith("3 of 18 rows have results.")
    assert (blank, rule) == ("", "| --- | --- | --- | --- |")
    assert head == "|  | 20% | 50% | 100% |"
    assert lines[0] == "| Rand Init | 30.7 / 31.00 ± 1.00 (n=3, +0.30) | 39.6 / - | 44.3 / - |"
    assert len(lines) == 6


def test_latex_is_a_tabular_with_escaped_heads(results) -> None:
    lines = format_comparison("3", results, "latex").splitlines()
    assert lines[:3] == [lines[0], r"\begin{tabular}{lccc}", r"\hline"]
    assert lines[0].startswith("% Table 3")
    assert lines[3] == r" & 20\% & 50\% & 100\% \\"
    assert lines[5] == r"Rand Init & 30.7 / 31.00 $\pm$ 1.00 (n=3, +0.30) & 39.6 / -- & 44.3 / -- \\"
    assert r"ImageNet Init & 33.3 / 33.20 (n=1, $-$0.10) & 38.8 / -- & 43.3 / -- \\" in lines
    assert lines[-1] == r"\end{tabular}"


@pytest.mark.parametrize("table", TABLES)
def test_every_row_has_its_place_once(table: str) -> None:
    heads, lines = arrange_as_published(table)
    placed = [row for _, line in lines for row in line if row is not None]
    assert sorted(placed, key=lambda row: row.row) == list(rows(table))
    assert {len(line) for _, line in lines} == {len(heads)}


def test_what_diverged_is_counted_apart(tmp_path) -> None:
    write_diverged(tmp_path, "figure2", 11, 0)
    cell = compare_row(find_row("figure2", 11), read_results(tmp_path).of_row(find_row("figure2", 11)))
    assert (cell.published, cell.mean, cell.num, cell.num_diverged) == (None, None, 1, 1)
    half = compare_row(find_row("figure2", 10), {0: None, 1: 39.0})
    assert (half.mean, half.num, half.num_diverged, half.difference) == (39.0, 2, 1, pytest.approx(-0.41))
