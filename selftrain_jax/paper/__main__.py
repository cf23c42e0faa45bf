"""The paper's tables, what their runs take, and our results beside them: `python -m selftrain_jax.paper`.

python -m selftrain_jax.paper [TABLE ...]     the paper's tables with their row numbers
python -m selftrain_jax.paper plan --table=3  the stages behind rows, and what they take
python -m selftrain_jax.paper run --table=3 --runs=DIR [-- FLAGS]   runs them
python -m selftrain_jax.paper status --runs=DIR                     how far they are
"""

import errno
import os
import sys

from selftrain_jax.errors import (
    BUG,
    INTERRUPTED,
    RUN_AGAIN,
    USER_MISTAKE,
    InputError,
    RunAgainError,
    StagesFailedError,
    printable,
)
from selftrain_jax.paper.command import COMMANDS, run_command
from selftrain_jax.paper.rows import TABLES, format_table, rows


def main(arguments: list[str]) -> int:
    """Print the tables, or run the command that the first argument names; return the exit status."""
    try:
        print(_answer(arguments), flush=True)
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (InputError, StagesFailedError, RunAgainError, KeyboardInterrupt) as error:
        return _complain(error)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return _complain(InputError(f"the disk is full ({error.filename}); make room and run it again"))
    return 0


def _answer(arguments: list[str]) -> str:
    if arguments and arguments[0] in ("-h", "--help"):
        return __doc__ or ""
    if arguments and arguments[0] in COMMANDS:
        return run_command(arguments[0], arguments[1:])
    return "\n\n".join(map(_section, arguments or TABLES))


def _complain(error: BaseException) -> int:
    """Print what went wrong and return the exit status."""
    text, code = f"error: {error}", USER_MISTAKE
    match error:
        case StagesFailedError():
            text, code = str(error), BUG
        case RunAgainError():
            text, code = f"{error}; the same command goes on", RUN_AGAIN
        case KeyboardInterrupt():
            text, code = "interrupted; the same command goes on", INTERRUPTED
    print(printable(text), file=sys.stderr)
    return code


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
