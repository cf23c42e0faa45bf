"""Feeds broken and hostile input to everything that reads files: python -m tests.faults.fuzz_parsers.

Each input must be read or refused by an InputError of a few lines, within 2 seconds of CPU and without taking
much memory. Anything else is printed with the file that holds the input, and the exit status is 1. Inputs are
the same for the same --seed; a finding is run again by --parsers=NAME --only=NUMBER.
"""

import argparse
import contextlib
import faulthandler
import importlib.util
import pathlib
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from selftrain_jax.errors import InputError
from tests.faults.fuzz_data import Parser
from tests.faults.fuzz_targets import PARSERS

MAX_CPU_SECS = 2.0
MAX_WALL_SECS = 60.0  # for what waits without computing
MAX_GROWTH_MIB = 600
LONGEST_MESSAGE = 20_000  # letters; five offenders of 1,000 letters and what to do about them


class TooSlow(BaseException):
    """Raised by the clock; no `except Exception` swallows it."""


class Row(NamedTuple):
    """What became of a parser's inputs."""

    name: str
    inputs: int
    accepted: int
    rejected: int
    slowest_ms: float
    failures: list[str]


def main() -> int:
    """Run and print the table."""
    arguments = _parse_arguments()
    warnings.simplefilter("ignore")  # Pillow and NumPy warn of what they then read
    chosen = [name for name in PARSERS if not arguments.parsers or name in arguments.parsers.split(",")]
    if "torch file" in chosen and importlib.util.find_spec("torch") is None:
        chosen.remove("torch file")
        print("torch file: not run, torch is not installed", file=sys.stderr)
    failures = pathlib.Path(arguments.failures or tempfile.mkdtemp(prefix="fuzz_failures_"))
    rows = []
    for place, name in enumerate(chosen):
        count = arguments.inputs // len(chosen) + (place < arguments.inputs % len(chosen))
        numbers = range(count) if arguments.only is None else [arguments.only]
        rows.append(fuzz(name, numbers, seed=arguments.seed, failures=failures))
        print(f"{name}: {len(rows[-1].failures)} failures", file=sys.stderr, flush=True)
    print(table(rows))
    kinds: dict[str, list[str]] = {}
    for failure in [failure for row in rows for failure in row.failures]:
        places = re.findall(r'File "[^"]+", line \d+', failure)
        kinds.setdefault(f"{failure.partition(',')[0]}{places[-1:]}", []).append(failure)
    for failures_alike in kinds.values():
        print(f"\n{len(failures_alike)} alike: {failures_alike[0][:LONGEST_MESSAGE]}")
    return int(bool(kinds))


def fuzz(name: str, numbers: Any, *, seed: int, failures: pathlib.Path) -> Row:
    """Feed one parser; the first inputs are its seeds, unchanged, which it must accept."""
    accepted = rejected = 0
    slowest, problems = 0.0, []
    with tempfile.TemporaryDirectory() as folder:
        parser = PARSERS[name](pathlib.Path(folder))
        for data in parser.seeds:
            parser.parse(data)
        for number in numbers:
            data = make_input(parser, name, number, seed)
            found, secs = outcome(parser.parse, data)
            slowest = max(slowest, secs)
            accepted, rejected = accepted + (found == "accepted"), rejected + (found == "rejected")
            if found not in ("accepted", "rejected"):
                problems.append(_keep(failures, name, number, data, found))
    return Row(name, len(numbers), accepted, rejected, 1000 * slowest, problems)


def make_input(parser: Parser, name: str, number: int, seed: int) -> bytes:
    """Return an input, the same for the same name, number and seed."""
    return parser.mutate(np.random.default_rng((seed, zlib.crc32(name.encode()), number)), parser.seeds)


def outcome(parse: Callable[[bytes], Any], data: bytes) -> tuple[str, float]:
    """Return "accepted", "rejected" or what went wrong, and the seconds of CPU."""
    began, peak = time.process_time(), _peak_mib()
    try:
        with _clock():
            parse(data)
        found = "accepted"
    except InputError as error:
        found = (
            "rejected"
            if 10 < len(str(error)) < LONGEST_MESSAGE
            else f"a message of {len(str(error))} letters"
        )
    except TooSlow:
        found = "too slow:\n" + traceback.format_exc(limit=-8)
    except Exception:
        found = traceback.format_exc(limit=-8)
    if _peak_mib() - peak > MAX_GROWTH_MIB:
        found = f"took {_peak_mib() - peak:.0f} MiB"
    return found, time.process_time() - began


def table(rows: list[Row]) -> str:
    """Write the counts."""
    total = Row("all", *(sum(getattr(row, key) for row in rows) for key in Row._fields[1:4]), 0, [])
    lines = [f"{'parser':<20} {'inputs':>7} {'accepted':>9} {'rejected':>9} {'failed':>7} {'slowest ms':>11}"]
    for row in [*rows, total]:
        failed = row.inputs - row.accepted - row.rejected
        slowest = (
            f"{max((row.slowest_ms for row in rows), default=0) if row is total else row.slowest_ms:.0f}"
        )
        lines.append(
            f"{row.name:<20} {row.inputs:>7} {row.accepted:>9} {row.rejected:>9} {failed:>7} {slowest:>11}"
        )
    return "\n".join(lines)


@contextlib.contextmanager
def _clock() -> Iterator[None]:
    """Interrupt what takes too long; C code that never returns ends the process, with its stack printed."""

    def stop(*_: Any) -> None:
        raise TooSlow

    before = {number: signal.signal(number, stop) for number in (signal.SIGPROF, signal.SIGALRM)}
    faulthandler.dump_traceback_later(2 * MAX_WALL_SECS, exit=True)
    signal.setitimer(signal.ITIMER_PROF, MAX_CPU_SECS)
    signal.setitimer(signal.ITIMER_REAL, MAX_WALL_SECS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        for number, handler in before.items():
            signal.signal(number, handler)


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _keep(folder: pathlib.Path, name: str, number: int, data: bytes, found: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name.replace(' ', '_')}-{number}.bin"
    path.write_bytes(data)
    return f"{name}, input {number}, kept in {path}:\n{found}"


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000, help="in all, shared out evenly")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parsers", default="", help=f"some of: {', '.join(PARSERS)}")
    parser.add_argument("--only", type=int, help="this input alone")
    parser.add_argument(
        "--failures", default="", help="folder for inputs that failed; default a new one in /tmp"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
