r"""What the recipe for few labels gains: teacher, control, oracle and student on your labelled data sets.

python -m launch.study_few_labels --animals=DIR --bccd=DIR --camvid=DIR [--seeds=0,1,2] [--parallel=2]

Each data set keeps a small share of its labels (--shares=2,5 for others than its own); the rest of train is
unlabelled, and the oracle knows its labels. Every cell is an ordinary run of `configs/own_data.py` or
`configs/own_masks.py` as they stand, in its own folder; flags after `--` are added to each. Started again,
the study resumes interrupted cells and skips those in the results file. --policies=s1,s2,s3,s4 compares
strengths of augmentation. Results are written after each cell, with a table (FILE.md) beside them.
"""

import argparse
import pathlib
from collections.abc import Callable

from launch.parallel import run_parallel
from launch.study_few_labels.cells import SETS, command, list_cells
from launch.study_few_labels.results import format_table, read_results, write_results


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name in SETS:
        parser.add_argument(f"--{name}", type=pathlib.Path, help="its folder; without, it is left out")
    parser.add_argument("--shares", type=_read_list(float), default=[], help="percent of labels")
    parser.add_argument("--policies", type=_read_list(str), default=["s4"], help="augmentations, s1 to s4")
    parser.add_argument("--seeds", type=_read_list(int), default=[0, 1, 2])
    parser.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs/study_few_labels"))
    parser.add_argument("--results", type=pathlib.Path, help="by default results.json in --runs")
    parser.add_argument(
        "--parallel", type=int, default=1, help="runs at once, each on its share of the cores"
    )
    parser.add_argument("flags", nargs="*", help="after --: flags for every run")
    options = parser.parse_args(arguments)
    if not any(vars(options)[name] for name in SETS):
        parser.error(f"name the folder of a data set: {', '.join(f'--{name}=DIR' for name in SETS)}")
    return options


def _read_list(kind: type) -> Callable[[str], list]:
    def read(text: str) -> list:
        return [kind(word) for word in text.split(",")]

    return read


def main() -> None:
    """Run the unfinished cells; write the results after each."""
    options = parse()
    folders = {name: vars(options)[name] for name in SETS if vars(options)[name]}
    cells = list_cells(folders, options.shares, options.policies, options.seeds)
    file = options.results or options.runs / "results.json"
    known = read_results(file, options.runs, cells)
    remaining = [cell for cell in cells if cell not in known]
    print(f"{len(cells) - len(remaining)} cells finished, {len(remaining)} to run", flush=True)
    lines = {
        cell.name: command(cell, folders[cell.data_set], options.runs, options.flags) for cell in remaining
    }
    for number, name in enumerate(run_parallel(lines, options.runs, options.parallel), start=1):
        print(f"{number} of {len(remaining)}: {name}", flush=True)
        write_results(read_results(file, options.runs, cells), file)
    print(format_table(read_results(file, options.runs, cells).values()))


if __name__ == "__main__":
    main()
