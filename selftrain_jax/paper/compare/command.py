"""What the commands table, figure and findings print; each is given the folder of runs."""

from pathlib import Path

from selftrain_jax.errors import InputError
from selftrain_jax.paper.compare.drawing import draw_figure, save_figure
from selftrain_jax.paper.compare.findings import FINDINGS
from selftrain_jax.paper.compare.results import Results, read_results
from selftrain_jax.paper.compare.tables import count_results, format_comparison
from selftrain_jax.paper.compare.verdicts import (
    ClaimVerdict,
    FindingVerdict,
    judge,
    published_numbers,
)
from selftrain_jax.paper.rows import rows
from selftrain_jax.text import number, shorten_list

FIGURES = ("figure1", "figure2", "figure3")
INTERVAL = (
    "In brackets the 95 % interval of Student's t over seeds: they are few, and their spread is known from "
    "themselves alone. Numbers are subtracted within a seed first. From one seed there is no interval, and "
    "nothing can be said."
)
PUBLISHED = "The paper's own numbers, one run each, taken as they are: no intervals."


def compare_table(table: str, runs: Path, form: str) -> str:
    """Return a table of ours beside the paper's.

    Raises:
        InputError: no such table, or no runs.
    """
    if not table.isdigit():
        raise InputError(f"table {table}: figures are drawn, as python -m selftrain_jax.paper figure 1")
    rows(table)
    results = read_results(runs)
    return "\n".join([format_comparison(table, results, form), *_comment(form, results)])


def compare_figure(figure: str, runs: Path, output: Path) -> str:
    """Draw a figure with ours and the paper's points and say what is in it.

    Raises:
        InputError: no such figure, no runs, or `output` cannot be written.
    """
    name = f"figure{figure.removeprefix('figure')}"
    if name not in FIGURES:
        raise InputError(f"figure {figure} of the paper is not one of 1, 2, 3")
    results = read_results(runs)
    save_figure(draw_figure(name, results), output)
    return "\n".join([f"{output}: {count_results(name, results)}", *_comment("text", results)])


def _comment(form: str, results: Results) -> list[str]:
    remarks = [f"Not the paper's settings: {remark}" for remark in results.remarks]
    return [f"% {remark}" for remark in remarks] if form == "latex" else remarks


def judge_findings(runs: Path | None) -> str:
    """Return the verdict on every finding, by runs or, without a folder, by the paper's own numbers.

    Raises:
        InputError: there are no runs.
    """
    if runs is None:
        verdicts = [judge(finding, published_numbers, is_exact=True) for finding in FINDINGS]
        return "\n\n".join([PUBLISHED, *map(format_verdict, verdicts)])
    results = read_results(runs)
    verdicts = [judge(finding, results.of_row) for finding in FINDINGS]
    counted = f"{results.num_runs} run{'s' * (results.num_runs > 1)}, scale {results.scale}."
    return "\n\n".join([f"{counted} {INTERVAL}", *map(format_verdict, verdicts), *_comment("text", results)])


def format_verdict(found: FindingVerdict) -> str:
    """Return a finding with its verdict and the numbers of its claims."""
    finding = found.finding
    head = f"{finding.name} ({finding.tables}): {found.verdict}\n  {finding.statement}"
    return "\n".join([head, *map(_format_claim, found.claims)])


def _format_claim(found: ClaimVerdict) -> str:
    bounds = (
        f"above {found.claim.low:g}" if found.claim.high == float("inf") else f"within {found.claim.high:g}"
    )
    if found.estimate is None:
        rows_of = [f"{row.table}:{row.row}" for row in found.missing]
        why = f"no results of {shorten_list(rows_of)}" if rows_of else "no seed has numbers of all its rows"
        return f"    {found.claim.name}, to be {bounds}: {why}"
    own = found.estimate
    interval = ""
    if own.num == 1:
        interval = " (one seed)"
    elif own.num:
        interval = f" [{number(own.low, 2, True)}, {number(own.high, 2, True)}] (n={own.num})"
    return f"    {found.claim.name}, to be {bounds}: {number(own.mean, 2, True)}{interval}: {found.verdict}"
