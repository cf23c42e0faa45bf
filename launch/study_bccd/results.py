"""The results of the study: read from the runs' summaries, kept as JSON, shown as a table and a figure."""

import itertools
import json
import pathlib
import statistics
from typing import Any

from launch.study_bccd.cells import INITS, STEPS, STUDENT_STEPS, Cell, cells
from selftrain_jax.io import atomic_write
from selftrain_jax.paper.rows import rows as paper_rows

STAGES = {"teacher": "supervised", "control": "control", "student": "self-training"}
SHARES = {"s4": (10, 20, 100), "s1": (20, 100)}  # percent of the labels, by policy


def read_results(file: pathlib.Path, runs: pathlib.Path) -> list[dict[str, Any]]:
    """Return the finished cells in order, from the results file and from the runs' folders.

    Raises:
        SystemExit: a cell was trained for other steps than those in cells.py.
    """
    known = {_cell_of(row): row for row in json.loads(file.read_text())} if file.exists() else {}
    for cell in cells():
        path = runs / cell.name / "summary.json"
        if cell not in known and path.exists():
            known[cell] = read_summary(cell, json.loads(path.read_text()))
    for cell, row in known.items():
        check_steps(cell, row)
    return [known[cell] for cell in cells() if cell in known]


def check_steps(cell: Cell, row: dict[str, Any]) -> None:
    """Check that a cell was trained for the same steps as the rest.

    Raises:
        SystemExit: it was not.
    """
    expected = {"teacher": STEPS[cell.init]}
    expected |= dict.fromkeys(("control", "student"), STUDENT_STEPS[cell.init])
    trained = {name: row[name]["steps"] for name in STAGES if name in row}
    wrong = [
        f"{name} {steps}, not {expected[name]}" for name, steps in trained.items() if steps != expected[name]
    ]
    if wrong:
        raise SystemExit(
            f"{cell.name} was trained for other steps than cells.py has: {'; '.join(wrong)}. Use another "
            "--results and --runs, or delete them to start from scratch."
        )


def is_finished(cell: Cell, rows: list[dict[str, Any]]) -> bool:
    """Tell whether a cell is among the results."""
    return any(_cell_of(row) == cell for row in rows)


def _cell_of(row: dict[str, Any]) -> Cell:
    return Cell(*(row[field] for field in Cell._fields))


def read_summary(cell: Cell, summary: dict[str, Any]) -> dict[str, Any]:
    """Return a cell's settings, stages (AP, AP50, steps, seconds), quality of labels, and machine."""
    stages = {name: summary[name] for name in STAGES if name in summary}
    kept = {
        name: {key: stage[key] for key in ("ap", "ap50", "steps", "seconds")}
        for name, stage in stages.items()
    }
    labels = {key: summary["pseudo_labels"].get(key) for key in ("boxes", "precision", "recall")}
    machine = {key: summary[key] for key in ("device", "versions")}
    return {**cell._asdict(), **kept, "pseudo_labels": labels, **machine}


def aps(rows: list[dict[str, Any]], init: str, share: int, policy: str, stage: str) -> list[float]:
    """Return a stage's test AP in percent for each finished seed."""
    wanted = (init, share, policy)
    finished = [row for row in rows if (row["init"], row["labels"], row["policy"]) == wanted]
    return [100 * row[stage]["ap"] for row in finished if stage in row]


def gains(rows: list[dict[str, Any]], init: str, share: int, over: str) -> list[float]:
    """Return the student's gain in AP with S4 for each finished seed."""
    wanted = (init, share, "s4")
    students = [
        row for row in rows if (row["init"], row["labels"], row["policy"]) == wanted and "student" in row
    ]
    return [100 * (row["student"]["ap"] - row[over]["ap"]) for row in students]


def format_table(rows: list[dict[str, Any]]) -> str:
    """Format test AP in percent, mean and deviation over the seeds, and the paper's numbers."""
    columns = [(policy, share) for policy, shares in SHARES.items() for share in shares]
    lines = [f"| | {' | '.join(f'{policy.upper()}, {share} %' for policy, share in columns)} |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for init, (stage, name) in itertools.product(INITS, STAGES.items()):
        values = [format_values(aps(rows, init, share, policy, stage)) for policy, share in columns]
        lines.append(f"| {init}, {name} | {' | '.join(values)} |")
    for init, over in itertools.product(INITS, ("teacher", "control")):
        values = [format_values(gains(rows, init, share, over), "+") for share in (10, 20)]
        lines.append(f"| {init}, student over {over} | {' | '.join(values)} | | | |")
    for init, stage in itertools.product(INITS, ("teacher", "student")):
        values = [paper_ap(init, share, policy, stage) for policy, share in columns]
        lines.append(f"| the paper's {init}, {STAGES[stage]} | {' | '.join(values)} |")
    return "\n".join(lines)


def paper_ap(init: str, share: int, policy: str, stage: str) -> str:
    """Return the paper's COCO AP of EfficientNet-B7 (Tables 2 and 3), or "" if it has none."""
    wanted = (init, f"{share}%", policy.upper(), stage == "student")
    for row in (*paper_rows("3"), *paper_rows("2")):
        if (row.init, row.labels, row.augment, row.unlabeled is not None) == wanted:
            return str(row.value)
    return ""


def format_values(values: list[float], sign: str = "") -> str:
    """Format mean (deviation), n; with one value there is no deviation."""
    if not values:
        return ""
    spread = f" ({statistics.stdev(values):.1f})" if len(values) > 1 else ""
    return f"{statistics.mean(values):{sign}.1f}{spread}, n={len(values)}"


def write_results(rows: list[dict[str, Any]], file: pathlib.Path) -> None:
    """Write the JSON, the table beside it (.md) and the figure (.png)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as opened:
        opened.write(json.dumps(rows, indent=1) + "\n")
    file.with_suffix(".md").write_text(format_table(rows) + "\n")
    draw(rows, file.with_suffix(".png"))


def draw(rows: list[dict[str, Any]], path: pathlib.Path) -> None:
    """Draw AP over the label share with S4, a panel for each initialisation; bars are deviations."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(INITS), figsize=(9, 3.6), sharey=True, layout="constrained")
    for init, panel in zip(INITS, panels, strict=True):
        for stage, name in STAGES.items():
            by_share = {share: aps(rows, init, share, "s4", stage) for share in SHARES["s4"]}
            shares = [share for share, values in by_share.items() if values]
            means = [statistics.mean(by_share[share]) for share in shares]
            bars = [statistics.stdev(by_share[share]) if len(by_share[share]) > 1 else 0 for share in shares]
            panel.errorbar(shares, means, bars, marker="o", capsize=3, label=name)
        panel.set(title=f"start: {init}", xlabel="labels, percent of train", xscale="log")
        panel.set_xticks(SHARES["s4"], map(str, SHARES["s4"]))
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("test AP")
    panels[0].legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)
