"""summary.json: every headline number of a run with what it was measured with."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selftrain_jax.run_files.fields import (
    COUNT,
    COUNT_BY_NAME,
    DURATION,
    INTEGER,
    NUMBER,
    OBJECT,
    TEXT,
    TEXT_BY_NAME,
    Fields,
    JsonObject,
    Number,
    is_number,
    open_fields,
    or_null,
    to_json,
)

SUMMARY_FILE = "summary.json"
STAGES = ("teacher", "control", "student")
REMEDY = "Delete it and run the same command again; it writes the file from what the stages measured."


@dataclass(frozen=True, kw_only=True)
class StageSummary:
    """A trained stage in short."""

    scores: Mapping[str, Number]  # fractions of 1, -1 where undefined
    checkpoint: str
    split: str
    steps: int
    seconds: Number

    @classmethod
    def from_fields(cls, fields: Fields) -> "StageSummary":
        """Read the object of a stage."""
        known = {
            "checkpoint": fields.get("checkpoint", TEXT),
            "split": fields.get("split", TEXT),
            "steps": fields.get("steps", COUNT),
            "seconds": fields.get("seconds", DURATION),
        }
        scores = {name: score for name, score in fields.others(*known).items() if is_number(score)}
        return cls(scores=scores, **known)

    def to_json(self) -> JsonObject:
        """Return the object for the file, keys in the order of the file."""
        values = to_json(self)
        return {**values.pop("scores"), **values}


@dataclass(frozen=True, kw_only=True)
class LabelSummary:
    """Pseudo labels in short, at the threshold in use."""

    counts: Mapping[str, int]  # images, and boxes or pixels
    per_class: Mapping[str, int]
    seconds: Number
    quality: Mapping[str, Number | None]  # precision, recall, ...; None where the truth is not known

    @classmethod
    def from_fields(cls, fields: Fields) -> "LabelSummary":
        """Read the object `pseudo_labels`."""
        fields.get("images", COUNT)
        others = fields.others("per_class", "seconds")
        return cls(
            counts={name: value for name, value in others.items() if type(value) is int},
            per_class=fields.get("per_class", COUNT_BY_NAME),
            seconds=fields.get("seconds", DURATION),
            quality={name: value for name, value in others.items() if value is None or type(value) is float},
        )

    def to_json(self) -> JsonObject:
        """Return the object for the file, keys in the order of the file."""
        first = {name: self.quality[name] for name in ("precision", "recall") if name in self.quality}
        values = {**self.counts, "per_class": dict(self.per_class), **first, "seconds": self.seconds}
        return {**values, **self.quality}


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A run in short; `stages` has those that are finished. A gain is None where one of two is missing."""

    stages: Mapping[str, StageSummary]
    pseudo_labels: LabelSummary | None
    gain_over_teacher: Number | None
    gain_over_control: Number | None
    metric: str | None = None  # the score that the gains are of
    device: str
    versions: Mapping[str, str]
    seconds_total: Number
    seed: int
    command: str | None = None
    config: JsonObject

    @classmethod
    def from_json(cls, value: Any, path: Path) -> "Summary":
        """Check a file.

        Raises:
            InputError: a key is missing or of another form than expected.
        """
        fields = open_fields(value, path, REMEDY)
        labels = fields.get("pseudo_labels", OBJECT, {})
        return cls(
            stages={
                name: fields.parse(name, StageSummary.from_fields) for name in STAGES if name in fields.values
            },
            pseudo_labels=fields.parse("pseudo_labels", LabelSummary.from_fields) if labels else None,
            gain_over_teacher=fields.get("gain_over_teacher", or_null(NUMBER), None),
            gain_over_control=fields.get("gain_over_control", or_null(NUMBER), None),
            metric=fields.get("metric", TEXT, None),
            device=fields.get("device", TEXT),
            versions=fields.get("versions", TEXT_BY_NAME),
            seconds_total=fields.get("seconds_total", DURATION),
            seed=fields.get("seed", INTEGER),
            command=fields.get("command", TEXT, None),
            config=fields.get("config", OBJECT),
        )

    def to_json(self) -> JsonObject:
        """Return the object for the file, keys in the order of the file."""
        values = to_json(self)
        values["pseudo_labels"] = self.pseudo_labels.to_json() if self.pseudo_labels else {}
        del values["stages"]
        return {**{name: stage.to_json() for name, stage in self.stages.items()}, **values}
