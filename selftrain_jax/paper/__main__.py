"""Print the paper's tables with their row numbers: `python -m selftrain_jax.paper [TABLE ...]`."""

import sys

from selftrain_jax.errors import InputError
from selftrain_jax.paper.rows import TABLES, format_table, rows


def main(tables: list[str]) -> int:
    """Print the tables and how to run a row of them; return the exit status."""
    try:
        print("\n\n".join(map(_section, tables or TABLES)))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _section(table: str) -> str:
    first = rows(table)[0]
    name = table if table.startswith("figure") else f"table {table}"
    title = f"{name}: {first.metric}, row numbers in brackets"
    command = (
        f"python -m selftrain_jax.main --config=configs/paper.py:table={table},row=ROW "
        f"--workdir=runs/paper_{table}_ROW"
    )
    return "\n".join([title, format_table(table), command])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
