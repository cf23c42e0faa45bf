"""summary.json: every headline number of a run with what it was measured with."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from selftrain_jax.run_files.fields import (
    Count,
    Duration,
    FiniteNumber,
    Integer,
    JsonObject,
    Object,
    Text,
    is_number,
    open_document,
    to_json,
)

SUMMARY_FILE = "summary.json"
STAGES = ("teacher", "control", "student")
REMEDY = "Delete it and run the same command again; it writes the file from what the stages measured."


@dataclass(frozen=True, kw_only=True)
class StageSummary:
    """A trained stage in short."""

    scores: Mapping[Text, FiniteNumber]  # fractions of 1, -1 where undefined
    checkpoint: Text
    split: Text
    steps: Count
    seconds: Duration

    def to_json(self) -> JsonObject:
        """Return the object for the file, keys in the order of the file."""
        values = to_json(self)
        return {**values.pop("scores"), **values}


@dataclass(frozen=True, kw_only=True)
class LabelSummary:
    """Pseudo labels in short, at the threshold in use."""

    images: Count
    counts: Mapping[Text, Integer]  # boxes or pixels
    per_class: Mapping[Text, Count]
    seconds: Duration
    quality: Mapping[Text, FiniteNumber | None]  # precision, recall, ...; None where the truth is not known

    def to_json(self) -> JsonObject:
        """Return the object for the file, keys in the order of the file."""
        first = {name: self.quality[name] for name in ("precision", "recall") if name in self.quality}
        values = {"images": self.images, **self.counts, "per_class": dict(self.per_class), **first}
        return {**values, "seconds": self.seconds, **self.quality}


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A run in short; `stages` has those that are finished. A gain is None where one of two is missing."""

    stages: Mapping[Text, StageSummary]
    pseudo_labels: LabelSummary | None
    gain_over_teacher: Annotated[FiniteNumber | None, Field(default=None)]
    gain_over_control: Annotated[FiniteNumber | None, Field(default=None)]
    metric: Text | None = None  # the score that the gains are of
    device: Text
    versions: Mapping[Text, Text]
    seconds_total: Duration
    seed: Integer
    command: Text | None = None
    config: Object

    @classmethod
    def from_json(cls, value: Any, path: Path) -> "Summary":
        """Check a file. Raises: InputError, as `Document.read`."""
        document = open_document(value, path, REMEDY)
        stages = {name: _gather_scores(value[name]) for name in STAGES if name in value}
        return document.read(cls, stages=stages, pseudo_labels=_gather_counts(value.get("pseudo_labels")))

    def to_json(self) -> JsonObject:
        """Return the object for the file, keys in the order of the file."""
        values = to_json(self)
        values["pseudo_labels"] = self.pseudo_labels.to_json() if self.pseudo_labels else {}
        del values["stages"]
        return {**{name: stage.to_json() for name, stage in self.stages.items()}, **values}


def _gather_scores(value: Any) -> Any:
    """Put the scores among a stage's keys under a key of their own."""
    if not isinstance(value, dict):
        return value
    names = value.keys() - {"checkpoint", "split", "steps", "seconds"}
    return {**value, "scores": {name: own for name, own in value.items() if name in names and is_number(own)}}


def _gather_counts(value: Any) -> Any:
    """Put the counts and the measures of quality among the labels' keys under keys of their own."""
    if not isinstance(value, dict) or not value:
        return None if value == {} else value
    others = {name: own for name, own in value.items() if name not in ("images", "per_class", "seconds")}
    counts = {name: own for name, own in others.items() if type(own) is int}
    quality = {
        name: own for name, own in others.items() if own is None or (type(own) is float and is_number(own))
    }
    return {**value, "counts": counts, "quality": quality}
