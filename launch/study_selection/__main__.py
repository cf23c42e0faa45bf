r"""Which images to label next: teachers of chosen images against teachers of as many random ones.

python -m launch.study_selection [--seeds=0,1,2,3,4] [--arms=random,uncertainty+rarity+diversity] [--rounds=1]

The built-in scenes are written as COCO files, --labels of train with labels. A teacher is trained as in
configs/quickstart.py, --job=select chooses --budget of the --unlabelled images by each arm, their labels are
added, and a teacher is trained anew, for --rounds rounds. Every step is an ordinary command in its own folder
below --runs; flags after `--` are added to each. Started again, the study goes on where it was. The curve of
labels and test AP is written to --results after each training, with a table (FILE.md) beside it.
"""

import argparse
import pathlib

from launch.parallel import run_parallel
from launch.study_selection.cells import (
    Cell,
    data_folder,
    list_cells,
    select_command,
    selection_folder,
    train_command,
)
from launch.study_selection.data import annotations, label, write_data
from launch.study_selection.results import format_table, is_finished, read_result, write_results
from selftrain_jax.run_files.selection import SELECTION_FILE, read_chosen_ids

ARMS = "random,uncertainty+rarity+diversity"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--seeds", type=lambda text: [int(word) for word in text.split(",")], default=[*range(5)]
    )
    parser.add_argument("--arms", type=lambda text: text.split(","), default=ARMS.split(","))
    parser.add_argument("--labels", type=int, default=50, help="images with labels at the start")
    parser.add_argument("--budget", type=int, default=50, help="images to label in a round")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--unlabelled", type=int, default=1000, help="images to choose among")
    parser.add_argument("--test", type=int, default=600, help="images to measure on")
    parser.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs/study_selection"))
    parser.add_argument("--results", type=pathlib.Path, help="by default results.json in --runs")
    parser.add_argument(
        "--parallel", type=int, default=1, help="runs at once, each on its share of the cores"
    )
    parser.add_argument("flags", nargs="*", help="after --: flags for every run")
    return parser.parse_args(arguments)


def begin(cells: list[Cell], options: argparse.Namespace) -> None:
    """Write the data of the first round: images, truth, and the first labels."""
    sizes = {"train": options.labels, "val": 60, "test": options.test, "unlabeled": options.unlabelled}
    for cell in cells:
        folder = data_folder(options.runs, cell.seed)
        write_data(folder, cell.seed, sizes)
        label(folder, "train", "unlabeled", (), (cell.name, cell.unlabelled))


def choose(cells: list[Cell], options: argparse.Namespace) -> None:
    """Choose each cell's images, and label them."""
    waiting = [cell for cell in cells if not (selection_folder(options.runs, cell) / SELECTION_FILE).exists()]
    lines = {
        f"{cell.name}-selection": select_command(cell, options.runs, options.budget, options.flags)
        for cell in waiting
    }
    for name in run_parallel(lines, options.runs, options.parallel):
        print(name, flush=True)
    for cell in cells:
        folder = data_folder(options.runs, cell.seed)
        if not annotations(folder, cell.name).exists():
            chosen = read_chosen_ids(selection_folder(options.runs, cell) / SELECTION_FILE)
            label(folder, cell.before.name, cell.before.unlabelled, chosen, (cell.name, cell.unlabelled))


def main() -> None:
    """Run the unfinished cells, round by round; write the results after each."""
    options = parse()
    file = options.results or options.runs / "results.json"
    rounds = [list_cells(options.arms, options.seeds, round) for round in range(options.rounds + 1)]
    known = [cell for cells in rounds for cell in cells]
    for number, cells in enumerate(rounds):
        waiting = [cell for cell in cells if not is_finished(options.runs, cell)]
        print(
            f"round {number}: {len(cells) - len(waiting)} cells finished, {len(waiting)} to run", flush=True
        )
        (choose if number else begin)(waiting, options)
        lines = {cell.name: train_command(cell, options.runs, options.flags) for cell in waiting}
        for name in run_parallel(lines, options.runs, options.parallel):
            print(name, flush=True)
            finished = [cell for cell in known if is_finished(options.runs, cell)]
            write_results([read_result(options.runs, cell) for cell in finished], file)
    results = [read_result(options.runs, cell) for cell in known]
    write_results(results, file)
    print(format_table(results))


if __name__ == "__main__":
    main()
