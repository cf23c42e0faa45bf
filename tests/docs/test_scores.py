"""The README and the configs repeat scores of docs/results.md, whose last rows are means of their seeds."""

import ast
import re
import statistics

import pytest

from .markdown import ROOT, Table, read_tables

RESULTS = read_tables((ROOT / "docs/results.md").read_text())
README = read_tables((ROOT / "README.md").read_text())
CONFIGS = sorted((ROOT / "configs").glob("*.py"))
COLUMNS = ("teacher", "control", "student", "over control", "over teacher")
SCORE = r"[+-]?\d+\.\d \(\d+\.\d\)"
# "teacher 28.6 (0.9)" or "+3.5 (1.0) over control"
NAMED_SCORE = re.compile(rf"(teacher|control|student) ({SCORE})|({SCORE}) (over control|over teacher)")


def seed_tables() -> list[Table]:
    return [table for table in RESULTS if "seed" in table.header]


def last_row(config: str, init: str) -> dict[str, str]:
    """Return the row `mean (sd)` of a config's runs, of one start where the table has several."""
    (table,) = [table for table in seed_tables() if table.config == config]
    rows = [row for row in table.rows if row["seed"] == "mean (sd)" and row.get("init", "") == init]
    assert len(rows) == 1, f"{config}: {len(rows)} rows `mean (sd)` of init={init!r} in docs/results.md"
    return rows[0]


def readme_rows() -> list[tuple[str, str, dict[str, str]]]:
    (table,) = [table for table in README if "over control" in table.header]
    runs = [re.match(r"`(\w+\.py)(?::init=(\w+))?`", row[table.header[0]]) for row in table.rows]
    assert all(runs), "the first column names a config, as `camvid.py:init=rand`"
    return [(run[1], run[2] or "", row) for run, row in zip(runs, table.rows, strict=True) if run]


def docstring(path) -> str:
    return ast.get_docstring(ast.parse(path.read_text())) or ""


def docstring_scores(text: str) -> list[tuple[str, str, str]]:
    """Return (init, column, score) for all that a docstring's paragraph of scores says."""
    found, init = [], ""
    (paragraph,) = [part for part in text.split("\n\n") if part.startswith("Scores")]
    for match in re.finditer(rf"init=(\w+): |{NAMED_SCORE.pattern}", " ".join(paragraph.split())):
        if match[1]:
            init = match[1]
        else:
            found.append((init, match[2] or match[5], match[3] or match[4]))
    return found


CONFIGS_WITH_SCORES = [path for path in CONFIGS if "\nScores" in docstring(path)]


def test_the_readme_shows_five_to_eight_runs() -> None:
    assert 5 <= len(readme_rows()) <= 8


@pytest.mark.parametrize(("config", "init", "row"), readme_rows())
def test_a_row_of_the_readme_is_the_mean_in_results(config: str, init: str, row: dict[str, str]) -> None:
    expected = last_row(config, init)
    assert {column: row[column] for column in COLUMNS} == {column: expected[column] for column in COLUMNS}


def test_every_config_of_the_readme_says_its_scores() -> None:
    assert {path.name for path in CONFIGS_WITH_SCORES} == {config for config, _, _ in readme_rows()}


@pytest.mark.parametrize("path", CONFIGS_WITH_SCORES, ids=lambda path: path.stem)
def test_a_docstrings_scores_are_the_means_in_results(path) -> None:
    scores = docstring_scores(docstring(path))
    starts = dict.fromkeys(init for init, _, _ in scores)
    assert [(init, column) for init, column, _ in scores] == [(i, c) for i in starts for c in COLUMNS]
    for init, column, score in scores:
        assert score == last_row(path.name, init)[column], f"{column} of init={init!r}"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_docstring_has_no_score_that_is_not_compared(path) -> None:
    text = docstring(path)
    num_compared = len(docstring_scores(text)) if path in CONFIGS_WITH_SCORES else 0
    words = " ".join(text.split())
    assert len(re.findall(SCORE, words)) == num_compared
    assert not re.findall(r"\d\.\d (?:AP|mIoU)|[+-]\d+\.\d (?:over|and)", words)


@pytest.mark.parametrize("table", seed_tables(), ids=lambda table: table.config)
def test_a_last_row_is_the_mean_of_its_seeds(table: Table) -> None:
    for init in {row.get("init", "") for row in table.rows}:
        rows = [row for row in table.rows if row.get("init", "") == init]
        *seeds, last = rows
        assert [row["seed"] for row in rows] == ["0", "1", "2", "mean (sd)"]
        for column in COLUMNS:
            mean, deviation = re.fullmatch(r"([+-]?\d+\.\d) \((\d+\.\d)\)", last[column]).groups()
            values = [float(row[column]) for row in seeds]
            # Rounded to 0.1 after the mean was taken: 0.05 of each value, and as much of the mean.
            assert float(mean) == pytest.approx(statistics.mean(values), abs=0.101)
            assert float(deviation) == pytest.approx(statistics.stdev(values), abs=0.101)


@pytest.mark.parametrize("table", seed_tables(), ids=lambda table: table.config)
def test_gains_are_differences(table: Table) -> None:
    for row in table.rows:
        value = {column: float(row[column].split(" (")[0]) for column in COLUMNS}
        for other in ("control", "teacher"):
            assert value[f"over {other}"] == pytest.approx(value["student"] - value[other], abs=0.151)
