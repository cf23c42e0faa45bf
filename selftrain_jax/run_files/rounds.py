"""rounds.json: how the student did on val in every round, and which round's student is the result."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selftrain_jax.io import read_json
from selftrain_jax.run_files.arms import COMPARED
from selftrain_jax.run_files.fields import (
    Count,
    FiniteNumber,
    Flag,
    JsonObject,
    Number,
    open_document,
    to_json,
)

ROUNDS_FILE = "rounds.json"
REMEDY = "Delete it and run the same command again; it writes the file from what the rounds measured."


@dataclass(frozen=True, kw_only=True)
class Round:
    """A round whose student is trained. The score is a fraction of 1, and -1 where it is undefined."""

    round: Count  # from 1
    val: FiniteNumber  # the headline metric of its student on the val split


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """The rounds that are done, in order. Round k's student is round k + 1's teacher."""

    rounds: tuple[Round, ...]
    kept: Count  # the round whose student is the result
    stopped_early: Flag  # a round was worse than the one before, and those that were asked for did not run

    @classmethod
    def from_vals(
        cls, vals: Sequence[Number], *, stopped_early: bool = False, kept: int | None = None
    ) -> "Rounds":
        """Number the scores from round 1; without `kept` the best round is kept, of equals the first."""
        rounds = tuple(Round(round=number, val=val) for number, val in enumerate(vals, 1))
        best = 1 + max(range(len(vals)), key=lambda index: (vals[index], -index))
        return cls(rounds=rounds, kept=best if kept is None else kept, stopped_early=stopped_early)

    @classmethod
    def from_json(cls, value: Any, path: Path) -> "Rounds":
        """Check a file. Raises: InputError, as `Document.read`, and where numbers of rounds do not fit."""
        document = open_document(value, path, REMEDY)
        found = document.read(cls)
        numbers = [entry.round for entry in found.rounds]
        if not numbers or numbers != list(range(1, len(numbers) + 1)):
            raise document.wrong("rounds", numbers, "the rounds 1, 2, ... in order")
        if found.kept not in numbers:
            raise document.wrong("kept", found.kept, f"a round from 1 to {len(numbers)}")
        return found

    def to_json(self) -> JsonObject:
        """Return the object for the file, keys in the order of the file."""
        return to_json(self)


def round_folder(workdir: Path, number: int) -> Path:
    """Return the folder that holds a round's `pseudo_labels` and `student`: round 1 is the run's own."""
    return workdir if number == 1 else workdir / f"round_{number}"


def read_rounds(workdir: Path) -> Rounds | None:
    """Read a run's rounds.json, if there is one. Raises: InputError, as `Rounds.from_json`."""
    path = workdir / ROUNDS_FILE
    return Rounds.from_json(read_json(path, REMEDY), path) if path.exists() else None


def stage_folders(workdir: Path, rounds: Rounds | None) -> dict[str, Path]:
    """Return where each stage's result is: the student is that of the kept round."""
    kept = 1 if rounds is None else rounds.kept
    return {
        "teacher": workdir / "teacher",
        **{kind: compared_folder(workdir, rounds, kind) for kind in COMPARED},
        "student": round_folder(workdir, kept) / "student",
    }


def compared_folder(workdir: Path, rounds: Rounds | None, kind: str) -> Path:
    """Return the folder of the control or oracle that was trained for the steps of all students together."""
    last = 1 if rounds is None else len(rounds.rounds)
    return round_folder(workdir, last) / kind
