"""The results of the study: read from the runs' summaries, kept as JSON, shown as a table."""

import itertools
import json
import pathlib
import statistics
from collections.abc import Iterable
from typing import Any

from launch.study_few_labels.cells import Cell
from selftrain_jax.command_line import flatten
from selftrain_jax.io import atomic_write
from selftrain_jax.run_files.arms import find_stronger_control

ARMS = ("teacher", "control", "control_half", "oracle", "student")
# What differs from cell to cell, anchors by the human boxes included; whatever else does is another recipe.
FREE = {"seed", "augment.policy", "data.label_percent", "data.dir", "model.anchor_size"}


def read_results(file: pathlib.Path, runs: pathlib.Path, cells: Iterable[Cell]) -> dict[Cell, dict[str, Any]]:
    """Return the finished cells: those of the results file, and those in the runs' folders.

    Raises:
        SystemExit: cells of a data set have different recipes.
    """
    known = {_cell_of(row): row for row in json.loads(file.read_text())} if file.exists() else {}
    for cell in cells:
        path = runs / cell.name / "summary.json"
        if cell not in known and path.exists():
            known[cell] = read_summary(cell, json.loads(path.read_text()))
    first: dict[str, Cell] = {}
    for cell, row in known.items():
        other = first.setdefault(cell.data_set, cell)
        _check_recipe(cell, row["config"], other, known[other]["config"])
    return known


def _check_recipe(cell: Cell, config: dict[str, Any], other: Cell, others: dict[str, Any]) -> None:
    changed = [key for key in sorted(config | others) if config.get(key) != others.get(key)]
    if changed:
        shown = ", ".join(f"{key} {config.get(key)!r} and {others.get(key)!r}" for key in changed[:5])
        raise SystemExit(
            f"{cell.name} and {other.name} were run with different recipes: {shown}. Name other --runs and "
            "--results for a changed recipe, or delete them to start from scratch."
        )


def read_summary(cell: Cell, summary: dict[str, Any]) -> dict[str, Any]:
    """Return a cell, the scores, steps and seconds of its arms, labels, recipe, and what it ran on."""
    arms = {arm: summary[arm] for arm in ARMS if arm in summary}
    kept = {key: summary[key] for key in ("metric", "pseudo_labels", "device", "versions")}
    recipe = {key: value for key, value in flatten(summary["config"]).items() if key not in FREE}
    return {**cell._asdict(), "arms": arms, **kept, "config": recipe}


def _cell_of(row: dict[str, Any]) -> Cell:
    return Cell(*(row[field] for field in Cell._fields))


def write_results(results: dict[Cell, dict[str, Any]], file: pathlib.Path) -> None:
    """Write the JSON, and the table beside it (.md)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [results[cell] for cell in sorted(results)]
    with atomic_write(file) as opened:
        opened.write(json.dumps(rows, indent=1) + "\n")
    file.with_suffix(".md").write_text(format_table(rows) + "\n")


def format_table(rows: Iterable[dict[str, Any]]) -> str:
    """Format scores in percent, mean (standard deviation) over seeds, a line for each set, share and policy.

    The gain is over the stronger control of each seed. The share is the mean gain over the oracle's mean gain
    over the same controls.
    """
    head = [
        "",
        "teacher",
        "control",
        "oracle",
        "student",
        "over control: seeds",
        "share of the oracle's gain",
    ]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    groups = itertools.groupby(sorted(rows, key=_cell_of), key=lambda row: _cell_of(row)[:3])
    for (name, share, policy), group in groups:
        lines.append(f"| {name}, {share:g} %, {policy.upper()} | {' | '.join(_cells_of(list(group)))} |")
    return "\n".join(lines)


def _cells_of(rows: list[dict[str, Any]]) -> list[str]:
    scores = [{arm: 100 * found[row["metric"]] for arm, found in row["arms"].items()} for row in rows]
    controls = [seed[find_stronger_control(seed) or ""] for seed in scores]
    teacher, student = ([seed[arm] for seed in scores] for arm in ("teacher", "student"))
    gains = [found - control for found, control in zip(student, controls, strict=True)]
    gain = f"{format_mean(gains, '+')}: {', '.join(f'{value:+.1f}' for value in gains)}"
    oracle, share = _of_oracle(scores, controls, gains)
    return [format_mean(teacher), format_mean(controls), oracle, format_mean(student), gain, share]


def _of_oracle(scores: list[dict[str, float]], controls: list[float], gains: list[float]) -> tuple[str, str]:
    """Return the oracle's score and the students' share of its gain; "-" where a seed has no oracle."""
    oracle = [seed["oracle"] for seed in scores if "oracle" in seed]
    if len(oracle) < len(scores):
        return "-", "-"
    whole = statistics.mean(found - control for found, control in zip(oracle, controls, strict=True))
    share = f"{100 * statistics.mean(gains) / whole:.0f} %" if whole > 0 else "the oracle gains nothing"
    return format_mean(oracle), share


def format_mean(values: list[float], sign: str = "") -> str:
    """Format mean (standard deviation); with one value there is no deviation."""
    spread = f" ({statistics.stdev(values):.1f})" if len(values) > 1 else ""
    return f"{statistics.mean(values):{sign}.1f}{spread}"
