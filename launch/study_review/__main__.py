r"""What correcting 100 images by hand gains: the least sure ones, as many random ones, none.

python -m launch.study_review [--seeds=0,1,2] [--count=100] [--runs=DIR] [--parallel=2] [-- FLAGS]

A seed is a run of `configs/quickstart.py`; for each choice its folder is copied, images go out as a COCO
file, the truth comes back in place of a person's corrections, and a variant's student uses them. All share
teacher, labels and control. Started again, the study resumes. FLAGS, such as --config.teacher.steps=5, are
added to every run.
"""

import argparse
import pathlib
import statistics
import sys

from launch.parallel import run_parallel
from launch.study_review.seed import CHOICES, NONE, read_scores, seed_folder


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--seeds", type=lambda text: [int(word) for word in text.split(",")], default=[0, 1, 2]
    )
    parser.add_argument("--count", type=int, default=100, help="images that are corrected")
    parser.add_argument("--config", default="configs/quickstart.py", help="of built-in data, takes seed=")
    parser.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs/study_review"))
    parser.add_argument(
        "--parallel", type=int, default=1, help="seeds at once, each on its share of the cores"
    )
    parser.add_argument("flags", nargs="*", help="after --: flags for every run")
    return parser.parse_args(arguments)


def format_table(scores: dict[int, dict[str, dict[str, float]]]) -> str:
    """Write the student's AP and its gain over the control, in points, for each seed and choice."""
    head = ["seed", "teacher", "control", *(f"student, {way}" for way in (NONE, *CHOICES))]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for seed, by_way in scores.items():
        arms = [f"{100 * by_way[NONE][arm]:.1f}" for arm in ("teacher", "control")]
        lines.append(f"| {seed} | {' | '.join([*arms, *map(_gain, by_way.values())])} |")
    gains = [
        [own[way]["student"] - own[way]["control"] for own in scores.values()] for way in (NONE, *CHOICES)
    ]
    means = [f"{100 * statistics.mean(values):+.1f}" for values in gains]
    return "\n".join([*lines, f"| mean over control | | | {' | '.join(means)} |"])


def _gain(arms: dict[str, float]) -> str:
    return f"{100 * arms['student']:.1f} ({100 * (arms['student'] - arms['control']):+.1f})"


def main() -> None:
    """Run every seed and write the table."""
    options = parse()
    lines = {
        seed_folder(seed): [
            *(sys.executable, "-m", "launch.study_review.seed", f"--seed={seed}", f"--count={options.count}"),
            *(f"--config={options.config}", f"--runs={options.runs}", "--", *options.flags),
        ]
        for seed in options.seeds
    }
    for name in run_parallel(lines, options.runs, options.parallel):
        print(f"{name} is finished", flush=True)
    table = format_table({seed: read_scores(options.runs, seed) for seed in options.seeds})
    (options.runs / "results.md").write_text(table + "\n")
    print(table)


if __name__ == "__main__":
    main()
