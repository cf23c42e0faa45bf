"""The fuzz run in short, and what it notices; `python -m tests.faults.fuzz_parsers` is the long one."""

import itertools
import pathlib
import subprocess
import sys

import pytest

from selftrain_jax.errors import InputError
from tests.faults import fuzz_parsers
from tests.faults.fuzz_parsers import fuzz, make_input, outcome
from tests.faults.fuzz_targets import PARSERS

INPUTS = 15  # of each parser
TF, NOT_SHORT = ("record",), ("torch file",)  # torch takes seconds to import


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.tf] * (name in TF)) for name in PARSERS if name not in NOT_SHORT],
)
def test_broken_input_is_read_or_refused_in_words(name: str, tmp_path: pathlib.Path) -> None:
    row = fuzz(name, range(INPUTS), seed=5, failures=tmp_path)
    assert row.failures == []
    assert row.accepted + row.rejected == INPUTS


def test_inputs_are_the_same_every_time_and_differ_from_each_other(tmp_path: pathlib.Path) -> None:
    parser = PARSERS["COCO JSON"](tmp_path)
    first, again = ([make_input(parser, "COCO JSON", n, seed=3) for n in range(50)] for _ in range(2))
    assert first == again
    assert len(set(first)) > 45
    assert make_input(parser, "COCO JSON", 0, seed=4) != first[0]


def raises(error: BaseException):
    def parse(_: bytes) -> None:
        raise error

    return parse


def spin(_: bytes) -> None:
    try:
        for _ in itertools.count():
            pass
    except Exception:  # as parsers have it
        raise InputError("not by the clock") from None


@pytest.mark.parametrize(
    ("parse", "found"),
    [
        (lambda _: None, "accepted"),
        (raises(InputError("a.json:1: not JSON")), "rejected"),
        (raises(InputError("")), "a message of 0 letters"),
        (raises(InputError("x" * 30_000)), "a message of 30000 letters"),
        (raises(ValueError("x")), "ValueError: x"),
        (raises(RecursionError()), "RecursionError"),
        (raises(MemoryError()), "MemoryError"),
        (spin, "too slow"),
    ],
)
def test_anything_but_reading_and_clear_words_is_seen(parse, found: str, monkeypatch) -> None:
    monkeypatch.setattr(fuzz_parsers, "MAX_CPU_SECS", 0.05)
    assert found in outcome(parse, b"")[0]


def test_memory_taken_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = itertools.count(0, 5000)
    monkeypatch.setattr(fuzz_parsers, "_peak_mib", lambda: next(peaks))
    assert "MiB" in outcome(lambda _: None, b"")[0]


@pytest.mark.slow
@pytest.mark.tf
def test_twenty_thousand_inputs(tmp_path: pathlib.Path) -> None:
    command = [sys.executable, "-m", "tests.faults.fuzz_parsers", "--inputs=20000", f"--failures={tmp_path}"]
    done = subprocess.run(command, cwd=pathlib.Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
