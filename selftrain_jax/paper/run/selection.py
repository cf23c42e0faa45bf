"""Which rows a folder of runs is about: rows.json, to which every `run` adds its own; call `add_rows`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json, write_json
from selftrain_jax.paper.plan.graph import RowRun, find_result
from selftrain_jax.paper.rows import find_row

ROWS_FILE = "rows.json"
REMEDY = "Run python -m selftrain_jax.paper run on this folder again, after deleting the file."


def add_rows(runs: Path, chosen: Iterable[RowRun]) -> None:
    """Remember rows and seeds beside those that the folder has. Raises: InputError: the file is damaged."""
    before = read_rows(runs) if (runs / ROWS_FILE).exists() else ()
    rows = dict.fromkeys((run.row.table, run.row.row, run.seed) for run in (*before, *chosen))
    names = ("table", "row", "seed")
    write_json(runs / ROWS_FILE, [dict(zip(names, own, strict=True)) for own in rows])


def read_rows(runs: Path) -> tuple[RowRun, ...]:
    """Return the rows and seeds of a folder.

    Raises:
        InputError: there are none, as nothing was run, or the file is damaged.
    """
    path = runs / ROWS_FILE
    if not path.exists():
        raise InputError(
            f"--runs={runs} has no {ROWS_FILE}: nothing was run there by python -m selftrain_jax.paper run"
        )
    found = read_json(path, REMEDY)
    if not isinstance(found, list):
        raise InputError(f"{path}: expected a list of rows. {REMEDY}")
    return tuple(_read_row(path, entry) for entry in found)


def _read_row(path: Path, entry: Any) -> RowRun:
    try:
        table, number, seed = str(entry["table"]), int(entry["row"]), int(entry["seed"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: expected table, row and seed, found {entry!r:.60}. {REMEDY}") from error
    row = find_row(table, number)
    return RowRun(row, seed, find_result(row, seed))
