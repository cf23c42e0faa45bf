"""`python -m selftrain_jax.paper plan`: what it prints, how fast, and its one-sentence errors."""

import pathlib
import subprocess
import sys
import time

import pytest

from selftrain_jax.paper.__main__ import main
from selftrain_jax.paper.plan.costs import count_costs
from selftrain_jax.paper.plan.graph import Labels, build_graph, stage_id
from selftrain_jax.paper.plan.speeds import read_compiled
from selftrain_jax.paper.rows import ROWS

PACKAGE_ROOT = pathlib.Path(__file__).parents[3]


def test_the_whole_paper_takes_under_ten_seconds_and_no_jax() -> None:
    code = (
        "import sys; from selftrain_jax.paper.__main__ import main; main(['plan']); "
        "print(sorted({'jax', 'tensorflow', 'matplotlib', 'scipy'} & set(sys.modules)))"
    )
    start = time.perf_counter()
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE_ROOT
    )
    assert time.perf_counter() - start < 10
    assert found.stdout.splitlines()[-1] == "[]"
    lines = found.stdout.splitlines()
    assert [line.split()[0] for line in lines[: lines.index("")]] == list(
        map(stage_id, build_graph(ROWS).stages)
    )


def test_table_3_says_what_is_shared(capsys) -> None:
    assert main(["plan", "--table=3"]) == 0
    text = capsys.readouterr().out
    assert "18 rows, 1 seed: 18 distinct runs, 11 shared stages" in text
    assert "2 starts, 9 teachers, 9 label sets, 9 students, 0 searches" in text
    # 435,000 steps of the teachers at 256, 675,000 of the students at 512, nine times ImageNet.
    assert "18 trainings, 1,110,000 steps, 468.5M images" in text
    (line,) = [line for line in text.splitlines() if "100%, from random" in line]
    assert "120,000 steps, seed 0; 30.7M images, 183.2 device-hours; for 3:3, 3:6" in line


def test_one_row_with_seeds_and_a_price(capsys, tmp_path) -> None:
    price = tmp_path / "price.csv"
    price.write_text("v5e,2\n")
    assert main(["plan", "--table=3", "--row=3", "--seeds=0,1,2", f"--price={price}"]) == 0
    text = capsys.readouterr().out
    assert "1 row, 3 seeds: 3 distinct runs, 0 shared stages" in text
    assert f"{2 * 3 * 30_720_000 * 64 / 2_981.5848 / 3600:,.2f} in the prices' money" in text


def test_a_figure_is_named_by_its_number(capsys) -> None:
    assert main(["plan", "--figure=2", "--row=1"]) == 0
    assert "for figure2:1" in capsys.readouterr().out


def test_a_reader_of_the_first_lines_sees_no_traceback() -> None:
    command = f"{sys.executable} -m selftrain_jax.paper plan | head -1"
    found = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=PACKAGE_ROOT)
    assert (found.stderr, found.stdout[:6]) == ("", "start-")


def test_the_documentation_has_the_whole_papers_numbers(capsys) -> None:
    assert main(["plan"]) == 0
    text, page = capsys.readouterr().out, (PACKAGE_ROOT / "docs" / "paper.md").read_text()
    start = text.index("240 rows, 1 seed")
    assert text[start : text.index("\n\n", start)] in page
    groups = [line.split() for line in text.splitlines() if line.startswith("  v5e:")]
    trained = [cells for cells in groups if "label" not in cells]
    assert len(trained) == 7
    for cells in trained:
        trainings, steps, _, hours, slice_hours = cells[-5:]
        assert f"| {trainings} | {steps} | {hours} | {slice_hours} |" in page
    total = sum(cost.device_hours for cost in count_costs(build_graph(ROWS).of_kind(Labels), read_compiled()))
    assert f"The 35 label sets take {total:.0f} device-hours more" in page
    for words in ("checkpoints 402 GB", "8,392 GB", "downloads: 812.0 GB, and 5 of unknown size"):
        assert words in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--table=15"], "table=15 of the paper is not one of 2, 3"),
        (["--figure=4"], "table=figure4 of the paper is not one of"),
        (["--table=3", "--row=19"], "rows 1 to 18, not row=19"),
        (["--row=5"], "--row=5 needs one --table or --figure"),
        (["--table=2,3", "--row=5"], "needs one --table"),
        (["--seeds=0,0"], "a number is there twice"),
        (["--seeds=a"], "expected whole numbers from 0"),
        (["--tables=3"], "unrecognized arguments: --tables=3"),
        (["--price=/none.json"], "/none.json does not exist"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments: list[str], words: str, capsys) -> None:
    assert main(["plan", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert words in error
    assert error.count("\n") == 1


def test_a_price_file_without_a_kind_that_is_needed_is_refused(capsys, tmp_path) -> None:
    price = tmp_path / "price.json"
    price.write_text('{"H100": 3}')
    assert main(["plan", "--table=4", f"--price={price}"]) == 2
    assert "there is no price of v5e, which the plan needs; the prices are of H100" in capsys.readouterr().err
