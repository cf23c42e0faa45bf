"""`python -m selftrain_jax.paper table | figure | findings`: what they print, and one-sentence errors."""

import pathlib

import pytest

from selftrain_jax.paper.__main__ import main
from selftrain_jax.paper.compare.findings import FINDINGS
from tests.paper.compare.runs import config_of, write_run


@pytest.fixture
def runs(tmp_path: pathlib.Path) -> pathlib.Path:
    for seed in range(3):
        write_run(tmp_path / "runs", "3", 6, seed, teacher=44.0 + seed, student=45.0 + seed)
    return tmp_path / "runs"


def test_a_table_says_how_much_of_it_was_run(runs: pathlib.Path, capsys) -> None:
    assert main(["table", "3", f"--runs={runs}"]) == 0
    text = capsys.readouterr().out
    assert "2 of 18 rows have results" in text
    assert "45.6 / 46.00 ± 1.00 (n=3, +0.40)" in text


@pytest.mark.parametrize(("form", "sign"), [("text", "Not"), ("latex", "% Not")])
def test_runs_of_other_steps_are_said_below_a_table(runs: pathlib.Path, capsys, form: str, sign: str) -> None:
    config = config_of("3", 1)
    config["teacher"]["steps"] = 9
    write_run(runs, "3", 1, config=config, teacher=1.0)
    assert main(["table", "3", f"--runs={runs}", f"--format={form}"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"{sign} the paper's settings: {runs}")
    assert last.endswith("teacher.steps=9 in place of 45000")


def test_a_figure_is_drawn_and_its_share_said(runs: pathlib.Path, capsys) -> None:
    output = runs.parent / "figure.png"
    assert main(["figure", "1", f"--runs={runs}", f"--output={output}"]) == 0
    assert capsys.readouterr().out == f"{output}: 2 of 21 rows have results\n"
    assert output.exists()


def test_findings_have_a_verdict_with_numbers_and_say_what_is_missing(runs: pathlib.Path, capsys) -> None:
    assert main(["findings", f"--runs={runs}"]) == 0
    text = capsys.readouterr().out
    assert "95 % interval of Student's t" in text
    assert text.count(": cannot be said\n") == len(FINDINGS)
    assert "100%: gain of self-training, to be above 0: +1.00 [+1.00, +1.00] (n=3): holds" in text
    assert "table 3, rand S4 20%: gain of self-training, to be above 0: no results of 3:4, 3:1" in text


def test_findings_of_the_paper_itself_all_hold(capsys) -> None:
    assert main(["findings"]) == 0
    heads = [
        line
        for line in capsys.readouterr().out.splitlines()
        if line.startswith(tuple(own.name for own in FINDINGS))
    ]
    assert len(heads) == len(FINDINGS)
    assert all(head.endswith(": holds") for head in heads)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["table", "15", "--runs=RUNS"], "table=15 of the paper is not one of"),
        (["table", "figure1", "--runs=RUNS"], "figures are drawn"),
        (["table", "3"], "the following arguments are required: --runs"),
        (["table", "3", "--runs=RUNS", "--format=html"], "invalid choice: 'html'"),
        (["table", "3", "--runs=EMPTY"], "has no run of the paper in it"),
        (["figure", "4", "--runs=RUNS", "--output=f.png"], "figure 4 of the paper is not one of 1, 2, 3"),
        (["figure", "1", "--runs=RUNS", "--output=f.jpg"], "expected a name that ends in .png"),
        (["findings", "--runs=EMPTY"], "has no run of the paper in it"),
        (["findings", "--runs=/none"], "--runs=/none is not a folder"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    runs: pathlib.Path, capsys, arguments: list[str], words: str
) -> None:
    (runs.parent / "empty").mkdir()
    places = {"RUNS": str(runs), "EMPTY": str(runs.parent / "empty")}
    for name, path in places.items():
        arguments = [own.replace(name, path) for own in arguments]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert words in error
    assert error.count("\n") == 1
