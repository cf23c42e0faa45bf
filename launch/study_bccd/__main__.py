r"""The paper's Table 3 in small: starts and label shares on the blood cells (BCCD), one command.

python -m launch.study_bccd --data=../shared/data/bccd [--runs=DIR] [--results=FILE.json] [--parallel=2]

{rand, imagenet} x {10, 20, 100 %} of the labels with S4, each supervised, as a control with equal steps, and
self-trained (100 %: only supervised), and supervised with S1 at 20 and 100 %; three seeds;
EfficientNet-Lite0, 256 px. Every cell is an ordinary run of the command in its own folder. Started again, the
study resumes interrupted cells and skips those in the results file; delete that file to start from scratch.
Results are written after each cell, with a table (FILE.md) and a figure (FILE.png) beside them.
"""

import argparse
import pathlib

from launch.parallel import run_parallel
from launch.study_bccd.cells import cells, command
from launch.study_bccd.results import format_table, is_finished, read_results, write_results

HERE = pathlib.Path(__file__).parent


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", required=True, help="the blood cells as a VOC folder")
    parser.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs/study_bccd"))
    parser.add_argument("--results", type=pathlib.Path, default=HERE / "results.json")
    parser.add_argument(
        "--parallel", type=int, default=1, help="cells at once, each on its share of the cores"
    )
    return parser.parse_args()


def main() -> None:
    """Run the unfinished cells; write the results after each."""
    options = parse()
    results = read_results(options.results, options.runs)
    remaining = [cell for cell in cells() if not is_finished(cell, results)]
    print(f"{len(results)} cells finished, {len(remaining)} to run", flush=True)
    lines = {cell.name: command(cell, options.data, options.runs) for cell in remaining}
    for number, name in enumerate(run_parallel(lines, options.runs, options.parallel), start=1):
        print(f"{number} of {len(remaining)}: {name}", flush=True)
        write_results(read_results(options.results, options.runs), options.results)
    print(format_table(read_results(options.results, options.runs)))


if __name__ == "__main__":
    main()
