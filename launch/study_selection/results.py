"""The results of the study: read from the runs' folders, kept as JSON, shown as labels against AP."""

import json
import pathlib
import statistics
from collections.abc import Iterable
from typing import Any

from launch.study_few_labels.results import format_mean
from launch.study_selection.cells import START, Cell, data_folder
from launch.study_selection.data import annotations, count_boxes
from selftrain_jax.io import write_json

RANDOM = "random"


def is_finished(runs: pathlib.Path, cell: Cell) -> bool:
    """Tell whether a cell's teacher has been measured on the test split."""
    return (runs / cell.name / "teacher" / "evaluation.json").exists()


def read_result(runs: pathlib.Path, cell: Cell) -> dict[str, Any]:
    """Return a finished cell: its labels, its AP and AP50 on the test split."""
    evaluation = json.loads((runs / cell.name / "teacher" / "evaluation.json").read_text())
    folder = data_folder(runs, cell.seed)
    return {
        **cell._asdict(),
        "num_images": len(json.loads(annotations(folder, cell.name).read_text())["images"]),
        "num_boxes": count_boxes(folder, cell.name),
        **{key: evaluation[key] for key in ("ap", "ap50")},
    }


def write_results(results: list[dict[str, Any]], file: pathlib.Path) -> None:
    """Write the JSON, and the table beside it (.md)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, results)
    file.with_suffix(".md").write_text(format_table(results) + "\n")


def format_table(results: Iterable[dict[str, Any]]) -> str:
    """Format test AP in percent, mean (standard deviation) over seeds, a line for each round and arm.

    What an arm is over random is of the seeds that have both.
    """
    head = ["arm", "labelled images", "boxes", "test AP", "over random: seeds"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    by_arm: dict[tuple[int, str], dict[int, dict[str, Any]]] = {}
    for row in results:
        by_arm.setdefault((row["round"], row["arm"]), {})[row["seed"]] = row
    for (round, arm), seeds in sorted(by_arm.items()):
        against = {} if arm in (RANDOM, START) else by_arm.get((round, RANDOM), {})
        gains = [100 * (seeds[s]["ap"] - against[s]["ap"]) for s in sorted(seeds) if s in against]
        cells = [
            arm,
            f"{statistics.mean(row['num_images'] for row in seeds.values()):.0f}",
            f"{statistics.mean(row['num_boxes'] for row in seeds.values()):.0f}",
            format_mean([100 * row["ap"] for row in seeds.values()]),
            f"{format_mean(gains, '+')}: {', '.join(f'{gain:+.1f}' for gain in gains)}" if gains else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
