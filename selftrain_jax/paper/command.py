"""The words of `python -m selftrain_jax.paper`: plan, run, status, table, figure, findings; `run_command`."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from selftrain_jax.errors import InputError
from selftrain_jax.paper.plan.graph import Graph, build_graph
from selftrain_jax.paper.plan.speeds import read_compiled, read_measured, read_prices
from selftrain_jax.paper.plan.text import format_plan
from selftrain_jax.paper.row import Row
from selftrain_jax.paper.rows import find_row, rows


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are one sentence."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(
            prog=f"python -m selftrain_jax.paper {command}", description=description, allow_abbrev=False
        )

    def error(self, message: str) -> NoReturn:
        """Raise what the command prints. Raises: InputError: always."""
        raise InputError(f"{message}; see python -m selftrain_jax.paper {self.prog.split()[-1]} --help")


def _plan(arguments: Sequence[str]) -> str:
    parser = _Parser("plan", "The stages behind rows, what they share and what they take.")
    _add_selection(parser)
    parser.add_argument("--images-per-second", type=Path, help="JSON of measured speeds, by network")
    parser.add_argument("--price", type=Path, help="JSON or CSV: accelerator, price of a device's hour")
    chosen = parser.parse_args(arguments)
    graph = _select_graph(chosen)
    path = chosen.images_per_second
    speeds = read_compiled() if path is None else read_measured(path)
    return format_plan(graph, speeds, None if chosen.price is None else read_prices(chosen.price))


def _add_selection(parser: argparse.ArgumentParser) -> None:
    """Add the flags that `_select_graph` reads."""
    parser.add_argument("--table", default="", help="a table, or several: 2,3; without any the whole paper")
    parser.add_argument("--figure", default="", help="a figure, or several: 1,2")
    parser.add_argument("--row", default="", help="rows of the table or figure: 5, or 4,5")
    parser.add_argument("--seeds", default="0", help="seeds of every row: 0,1,2")


def _select_graph(chosen: argparse.Namespace) -> Graph:
    selected = select_rows(chosen.table, chosen.figure, chosen.row)
    return build_graph(selected, read_numbers("--seeds", chosen.seeds))


def _run(arguments: Sequence[str]) -> str:
    from selftrain_jax.paper.run.command import SLURM, TPU_VM, run_rows

    parser = _Parser("run", "The stages behind rows, run one after another; again, it goes on where it was.")
    _add_selection(parser)
    parser.add_argument("--runs", type=Path, required=True, help="folder for the stages' folders and logs")
    parser.add_argument("--submit", choices=(SLURM, TPU_VM), default="", help="elsewhere than here")
    parser.add_argument("--submit-flags", default="", help="of sbatch, or NAME and options of tpu_vm.sh")
    parser.add_argument("flags", nargs="*", help="after --: flags for every run, as --config.data.dir=DIR")
    own, flags = _split(arguments)
    chosen = parser.parse_args(own)
    if chosen.flags:
        parser.error(f"unexpected {chosen.flags[0]}; flags for every run come after --")
    return run_rows(_select_graph(chosen), chosen.runs, flags, chosen.submit, chosen.submit_flags)


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split a command's own arguments from what comes after `--`."""
    own = list(arguments)
    at = own.index("--") if "--" in own else len(own)
    return own[:at], own[at + 1 :]


def _status(arguments: Sequence[str]) -> str:
    from selftrain_jax.paper.run.command import show_status

    parser = _Parser("status", "What the stages of a folder of runs are doing; DIR/status.html has it, too.")
    parser.add_argument("--runs", type=Path, required=True, help="the folder that was given to run")
    return show_status(parser.parse_args(arguments).runs)


def select_rows(tables: str, figures: str, numbers: str) -> tuple[Row, ...]:
    """Return the rows of tables and figures, given as `2,3`; of all where both are empty.

    Raises:
        InputError: the paper does not have it, or `numbers` name rows of more than one table.
    """
    names = [name.strip() for name in tables.split(",") if name.strip()]
    names += [f"figure{name.strip().removeprefix('figure')}" for name in figures.split(",") if name.strip()]
    if not numbers:
        return tuple(row for name in dict.fromkeys(names) for row in rows(name)) if names else rows()
    if len(names) != 1:
        raise InputError(f"--row={numbers} needs one --table or --figure that the rows are of")
    return tuple(find_row(names[0], number) for number in read_numbers("--row", numbers))


def read_numbers(flag: str, text: str) -> tuple[int, ...]:
    """Read `0,1,2`. Raises: InputError: something else, or a number twice."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise InputError(f"{flag}={text!r:.60}: expected whole numbers from 0, as 0,1,2")
    numbers = tuple(map(int, parts))
    if len(set(numbers)) < len(numbers):
        raise InputError(f"{flag}={text!r:.60}: a number is there twice")
    return numbers


def _table(arguments: Sequence[str]) -> str:
    from selftrain_jax.paper.compare.command import compare_table

    parser = _Parser("table", "A table of the paper with our results beside its numbers.")
    parser.add_argument("table", help="2 to 14")
    parser.add_argument("--runs", type=Path, required=True, help="folder with the folders of finished runs")
    parser.add_argument("--format", choices=("text", "markdown", "latex"), default="text")
    chosen = parser.parse_args(arguments)
    return compare_table(chosen.table, chosen.runs, chosen.format)


def _figure(arguments: Sequence[str]) -> str:
    from selftrain_jax.paper.compare.command import compare_figure

    parser = _Parser("figure", "A figure of the paper with our results on the same axes.")
    parser.add_argument("figure", help="1, 2 or 3")
    parser.add_argument("--runs", type=Path, required=True, help="folder with the folders of finished runs")
    parser.add_argument("--output", type=Path, required=True, help="the PNG to write")
    chosen = parser.parse_args(arguments)
    return compare_figure(chosen.figure, chosen.runs, chosen.output)


def _findings(arguments: Sequence[str]) -> str:
    from selftrain_jax.paper.compare.command import judge_findings

    parser = _Parser("findings", "Whether each finding of the paper holds in our results.")
    parser.add_argument(
        "--runs", type=Path, help="folder of finished runs; without it the paper's own numbers"
    )
    return judge_findings(parser.parse_args(arguments).runs)


COMMANDS: dict[str, Callable[[Sequence[str]], str]] = {
    "plan": _plan,
    "run": _run,
    "status": _status,
    "table": _table,
    "figure": _figure,
    "findings": _findings,
}


def run_command(name: str, arguments: Sequence[str]) -> str:
    """Return what a command of `COMMANDS` prints. Raises: InputError: its arguments are wrong."""
    return COMMANDS[name](arguments)
