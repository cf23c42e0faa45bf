"""stage.json: what decided a stage's result, and what the result is known by.

A folder whose record is equal to the one that a command would write belongs to that command.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from selftrain_jax.run_files.fields import (
    Count,
    FiniteNumber,
    JsonObject,
    Object,
    Text,
    open_document,
    to_json,
)

STAGE_FILE = "stage.json"
EVALUATION_STAGE_FILE = "evaluation_stage.json"
REMEDY = (
    "It says what this folder's files were made with, which nothing else does: restore it, or move the "
    "folder aside, for example by --redo, and make it again."
)


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """What a finished stage hands to the stages after it."""

    digest: Text  # of the weights, or of the label set
    step: Count = 0
    val: FiniteNumber | None = None  # the headline metric on val; None where it is undefined or not measured


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """A stage's settings by config key, its inputs by digest, and with which code it was made."""

    stage: Text  # its folder, from the run's on
    settings: Annotated[Mapping[Text, Any], Object]
    inputs: Annotated[Mapping[Text, Text], Field(default_factory=dict)]
    # How things are done where versions of this package differ: {"sampling": "raw", "ema": "ramp"}.
    methods: Annotated[Mapping[Text, Text], Field(default_factory=dict)]
    versions: Annotated[Mapping[Text, Text], Field(default_factory=dict)]
    code: Text = ""  # the revision
    # Of a finished training by checkpoint, "last" and "best"; of labels as "labels"; else empty.
    results: Annotated[Mapping[Text, StageResult], Field(default_factory=dict)]

    @classmethod
    def from_json(cls, value: Any, path: Path) -> "StageRecord":
        """Check a file. Raises: InputError, as `Document.read`."""
        return open_document(value, path, REMEDY).read(cls)

    def to_json(self) -> JsonObject:
        """Return the object for the file."""
        return to_json(self)


@dataclass(frozen=True, kw_only=True)
class Stop:
    """Where a training with patience ended: at `step` of at most `at_most`."""

    step: Count
    at_most: Count

    def __str__(self) -> str:
        return f"stopped at step {self.step:,} of at most {self.at_most:,}"


def find_stop(record: StageRecord | None) -> Stop | None:
    """Return where a finished training with patience ended; None for any other stage."""
    if record is None or "last" not in record.results:
        return None
    for group in ("teacher", "student"):
        steps = record.settings.get(f"{group}.steps")
        if record.settings.get(f"{group}.patience") and isinstance(steps, int):
            rounds = record.settings.get("selftrain.rounds", 1)  # a control has the steps of all rounds
            return Stop(step=record.results["last"].step, at_most=steps * rounds)
    return None
