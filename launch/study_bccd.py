r"""The paper's Table 3 in small: starts and label shares on the blood cells (BCCD), one command.

python -m launch.study_bccd --data=../shared/data/bccd --runs=runs/study_bccd --results=FILE.json

{rand, imagenet} x {10, 20, 100 %} of the labels with S4, each supervised, as a control of equal steps and
self-trained (100 %: supervised alone), and supervised with S1 at 20 and 100 %; three seeds;
EfficientNet-Lite0, 256 px. Every cell is an ordinary run of the command in its own folder: finished ones are
skipped, a killed one goes on. The results are written after each, with a table (FILE.md) and a figure
(FILE.png) beside them.
"""

import argparse
import itertools
import json
import pathlib
import statistics
import subprocess
import sys
from typing import Any, NamedTuple

INITS, SEEDS = ("rand", "imagenet"), (0, 1, 2)
STEPS = {"rand": 900, "imagenet": 300}  # until the val split's AP no longer rises
STUDENT_STEPS = {"rand": 450, "imagenet": 300}
STAGES = {"teacher": "supervised", "control": "control", "student": "self-training"}


class Cell(NamedTuple):
    """A run of the study."""

    init: str
    labels: int  # percent of train
    policy: str
    seed: int

    @property
    def name(self) -> str:
        """The folder of the run."""
        return f"{self.init}-{self.labels}-{self.policy}-{self.seed}"

    @property
    def is_supervised(self) -> bool:
        """Whether the teacher is all there is."""
        return self.labels == 100 or self.policy == "s1"


def cells() -> list[Cell]:
    """Return all runs, seed by seed, so that an unfinished study is balanced."""
    table = [(init, labels, "s4") for init, labels in itertools.product(INITS, (10, 20, 100))]
    table += [(init, labels, "s1") for init, labels in itertools.product(INITS, (20, 100))]
    return [Cell(*row, seed) for seed in SEEDS for row in table]


def command(cell: Cell, data: str, runs: pathlib.Path) -> list[str]:
    """Return the command line of a cell's run."""
    arguments = f"labels={cell.labels},aug={cell.policy},backbone=efficientnet_lite0,init={cell.init}"
    options = {
        "workdir": runs / cell.name,
        "config.data.dir": data,
        "config.teacher.steps": STEPS[cell.init],
        "config.student.steps": STUDENT_STEPS[cell.init],
    }
    if cell.is_supervised:
        options |= {"config.unlabeled.kind": "none", "config.student.control": False}
    start = [sys.executable, "-m", "selftrain_jax.main"]
    start.append(f"--config=configs/bccd.py:{arguments},seed={cell.seed}")
    return [*start, *(f"--{key}={value}" for key, value in options.items())]


def read_results(runs: pathlib.Path) -> list[dict[str, Any]]:
    """Return the finished cells: what they are, and AP, AP50 and steps of their stages."""
    rows = []
    for cell in cells():
        path = runs / cell.name / "summary.json"
        if path.exists():
            summary = json.loads(path.read_text())
            stages = {stage: summary[stage] for stage in STAGES if stage in summary}
            kept = {s: {key: stages[s][key] for key in ("ap", "ap50", "steps")} for s in stages}
            labels = {key: summary["pseudo_labels"].get(key) for key in ("boxes", "precision", "recall")}
            where = {"device": summary["device"], "versions": summary["versions"]}
            rows.append({**cell._asdict(), **kept, "pseudo_labels": labels, **where})
    return rows


def format_table(rows: list[dict[str, Any]]) -> str:
    """Return test AP in percent, mean and deviation over the seeds, in the shape of Table 3."""
    shares = {"s4": (10, 20, 100), "s1": (20, 100)}
    heads = [f"{policy.upper()}, {share} %" for policy, of in shares.items() for share in of]
    lines = [f"| | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for init, (stage, name) in itertools.product(INITS, STAGES.items()):
        values = [aps(rows, init, share, policy, stage) for policy, of in shares.items() for share in of]
        lines.append(f"| {init}, {name} | {' | '.join(map(_mean_and_deviation, values))} |")
    return "\n".join(lines)


def aps(rows: list[dict[str, Any]], init: str, share: int, policy: str, stage: str) -> list[float]:
    """Return a stage's test AP in percent, one a finished seed."""
    wanted = (init, share, policy)
    found = [row for row in rows if (row["init"], row["labels"], row["policy"]) == wanted]
    return [100 * row[stage]["ap"] for row in found if stage in row]


def _mean_and_deviation(values: list[float]) -> str:
    if not values:
        return ""
    spread = f" ({statistics.stdev(values):.1f})" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{spread}, n={len(values)}"


def draw(rows: list[dict[str, Any]], path: pathlib.Path) -> None:
    """Draw AP against the label share with S4, a panel for each start; a bar is a deviation."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(INITS), figsize=(9, 3.6), sharey=True, layout="constrained")
    for init, panel in zip(INITS, panels, strict=True):
        for stage, name in STAGES.items():
            by_share = {share: aps(rows, init, share, "s4", stage) for share in (10, 20, 100)}
            shares = [share for share, values in by_share.items() if values]
            means = [statistics.mean(by_share[share]) for share in shares]
            bars = [statistics.stdev(by_share[share]) if len(by_share[share]) > 1 else 0 for share in shares]
            panel.errorbar(shares, means, bars, marker="o", capsize=3, label=name)
        panel.set(title=f"start: {init}", xlabel="labels, percent of train", xscale="log")
        panel.set_xticks((10, 20, 100), ("10", "20", "100"))
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("test AP")
    panels[0].legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Run what is not finished; write the results after each cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", required=True, help="the blood cells as a VOC folder")
    parser.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs/study_bccd"))
    parser.add_argument("--results", type=pathlib.Path, required=True)
    options = parser.parse_args()
    for number, cell in enumerate(cells(), start=1):
        print(f"cell {number} of {len(cells())}: {cell.name}", flush=True)
        if not (options.runs / cell.name / "summary.json").exists():
            subprocess.run(command(cell, options.data, options.runs), check=True)
        rows = read_results(options.runs)
        options.results.write_text(json.dumps(rows, indent=1))
        options.results.with_suffix(".md").write_text(format_table(rows) + "\n")
        draw(rows, options.results.with_suffix(".png"))
    print(format_table(rows))


if __name__ == "__main__":
    main()
