"""Folders of finished runs of the paper's rows, with scores by hand."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs import paper
from selftrain_jax.run_files.diverged import DIVERGED_FILE
from selftrain_jax.run_files.search import SEARCH_FILE, Search, SearchPoint
from selftrain_jax.run_files.summary import SUMMARY_FILE, StageSummary, Summary


def config_of(table: str, row: int, seed: int = 0) -> dict[str, Any]:
    return paper.get_config(f"table={table},row={row},seed={seed}").to_dict()


def write_run(
    root: Path,
    table: str,
    row: int,
    seed: int = 0,
    *,
    config: Mapping[str, Any] | None = None,
    **points: float,
) -> Path:
    """Write a run whose stages, teacher=30.5 and student=34, have these scores in points."""
    folder = root / f"paper_{table}_{row}_{seed}"
    folder.mkdir(parents=True)
    config = dict(config or config_of(table, row, seed))
    metric = "ap" if config["task"] == "detection" else "miou"
    stages = {name: _stage(metric, score / 100) for name, score in points.items()}
    summary = Summary(
        stages=stages,
        pseudo_labels=None,
        gain_over_teacher=None,
        gain_over_control=None,
        metric=metric,
        device="1 x test",
        versions={},
        seconds_total=1.0,
        seed=seed,
        config=config,
    )
    (folder / SUMMARY_FILE).write_text(json.dumps(summary.to_json()))
    return folder


def _stage(metric: str, score: float) -> StageSummary:
    scores = {"ap": score} if metric == "ap" else {"miou": score - 0.01, "miou_resized": score}
    return StageSummary(scores=scores, checkpoint="c", split="val", steps=1, seconds=1.0)


def write_search(folder: Path, vals: Mapping[int, Mapping[float, float | None]]) -> None:
    """Write search.json: scores on val by seed and alpha."""
    grid = {"selftrain.alpha": tuple(sorted(next(iter(vals.values()))))}
    points = tuple(
        SearchPoint(values={"selftrain.alpha": alpha}, seed=seed, variant=f"{seed}-{alpha}", val=val)
        for seed, own in vals.items()
        for alpha, val in own.items()
    )
    search = Search.start("ap", grid, tuple(vals))
    for point in points:
        search = search.with_point(point)
    (folder / SEARCH_FILE).write_text(json.dumps(search.to_json()))


def write_diverged(root: Path, table: str, row: int, seed: int = 0, stage: str = "student") -> Path:
    folder = root / f"paper_{table}_{row}_{seed}"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config_of(table, row, seed)))
    (folder / DIVERGED_FILE).write_text(json.dumps({"stage": stage}))
    return folder
