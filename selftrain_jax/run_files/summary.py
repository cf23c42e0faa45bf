"""summary.json: every headline number of a run with what it was measured with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from selftrain_jax.run_files.arms import COMPARED, ORACLE
from selftrain_jax.run_files.cost import CostSummary
from selftrain_jax.run_files.fields import (
    Count,
    Duration,
    Expected,
    FiniteNumber,
    Flag,
    Integer,
    JsonObject,
    Object,
    Text,
    is_number,
    open_document,
    to_json,
)
from selftrain_jax.run_files.stage import Stop

SUMMARY_FILE = "summary.json"
STAGES = ("teacher", *COMPARED, "student")
LABEL_KEYS = (
    "images",
    "per_class",
    "seconds",
    "cost",
    "ignored_classes",
    "labelled_by",
    "corrections",
)  # the others are counts and quality
REMEDY = "Delete it and run the same command again; it writes the file from what the stages measured."

Pair = Annotated[
    list[Any], Expected("a list of two", lambda value: isinstance(value, list) and len(value) == 2)
]


@dataclass(frozen=True, kw_only=True)
class StageSummary:
    """A trained stage in short."""

    scores: Mapping[Text, FiniteNumber]  # fractions of 1, -1 where undefined
    checkpoint: Text
    split: Text
    steps: Count
    seconds: Duration
    cost: CostSummary | None = None  # None where it is unknown
    stopped: Stop | None = None  # with patience: where training ended, which may be after the checkpoint

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
    ignored_classes: tuple[Text, ...] | None = None  # by the student, for their recall
    labelled_by: tuple[Text, ...] | None = None  # where other models than the teacher took part
    cost: CostSummary | None = None  # None where it is unknown
    corrections: Object | None = None  # what people changed, by class: `summarize_corrections`

    def to_json(self) -> JsonObject:
        """Return the object for the file, keys in the order of the file."""
        first = {name: self.quality[name] for name in ("precision", "recall") if name in self.quality}
        values = {"images": self.images, **self.counts, "per_class": dict(self.per_class), **first}
        ignored = {} if self.ignored_classes is None else {"ignored_classes": list(self.ignored_classes)}
        others = {} if self.labelled_by is None else {"labelled_by": list(self.labelled_by)}
        corrected = {} if self.corrections is None else {"corrections": self.corrections}
        cost = {} if self.cost is None else {"cost": to_json(self.cost)}
        return {**values, "seconds": self.seconds, **cost, **self.quality, **ignored, **others, **corrected}


@dataclass(frozen=True, kw_only=True)
class RoundSummary:
    """A round of labels and student in short."""

    round: Count  # from 1
    val: FiniteNumber  # the student's headline metric on the val split
    student: StageSummary | None  # on the test split
    pseudo_labels: LabelSummary | None

    def to_json(self) -> JsonObject:
        """Return the object for the file, keys in the order of the file."""
        student = self.student.to_json() if self.student else None
        labels = self.pseudo_labels.to_json() if self.pseudo_labels else {}
        return {"round": self.round, "val": self.val, "student": student, "pseudo_labels": labels}


@dataclass(frozen=True, kw_only=True)
class VariantSummary:
    """A variant in short, as far as it has come; `stages` are its own and those it shares with others."""

    stages: Mapping[Text, StageSummary]
    pseudo_labels: LabelSummary | None
    gain_over_teacher: Annotated[FiniteNumber | None, Field(default=None)]
    gain_over_control: Annotated[FiniteNumber | None, Field(default=None)]
    val: Annotated[FiniteNumber | None, Field(default=None)]  # the student's headline metric on val
    stronger_control: Text | None = None
    oracle_share_percent: FiniteNumber | None = None
    threshold: Annotated[FiniteNumber | None, Field(default=None)]
    alpha: Annotated[FiniteNumber | None, Field(default=None)]
    differs: Annotated[
        Mapping[Text, Pair], Field(default_factory=dict)
    ]  # config keys: the base's value, its own

    def to_json(self) -> JsonObject:
        """Return the object for the file, keys in the order of the file."""
        return {**_stages_to_json(self), **_others_to_json(self)}


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A run in short; `stages` has those that are finished. A gain is None where one of two is missing."""

    stages: Mapping[Text, StageSummary]  # of a run in rounds: the kept round's student
    pseudo_labels: LabelSummary | None  # of the first round
    gain_over_teacher: Annotated[FiniteNumber | None, Field(default=None)]
    gain_over_control: Annotated[FiniteNumber | None, Field(default=None)]
    stronger_control: Text | None = None  # the one that the gain is over, where there are two
    oracle_share_percent: FiniteNumber | None = None  # `share_of_oracle`, with an oracle
    metric: Text | None = None  # the score that the gains are of
    device: Text
    versions: Mapping[Text, Text]
    seconds_total: Duration
    cost: CostSummary | None = None  # of all stages and labels; None where that of one is unknown
    seed: Integer
    command: Text | None = None
    kept_round: Count | None = None
    stopped_early: Flag | None = None  # the rounds
    rounds: tuple[RoundSummary, ...] | None = None
    val: FiniteNumber | None = None  # beside variants, the student's headline metric on val
    variants: Mapping[Text, VariantSummary] | None = None
    config: Object

    @classmethod
    def from_json(cls, value: Any, path: Path) -> "Summary":
        """Check a file. Raises: InputError, as `Document.read`."""
        document = open_document(value, path, REMEDY)
        gathered = _gather(value)
        more = {
            "rounds": _map_list(_gather_round, value.get("rounds")),
            "variants": _map_values(_gather, value.get("variants")),
        }
        return document.read(cls, stages=gathered["stages"], pseudo_labels=gathered["pseudo_labels"], **more)

    def to_json(self) -> JsonObject:
        """Return the object for the file, keys in the order of the file."""
        values = {**_stages_to_json(self), **_others_to_json(self)}
        if self.rounds is not None:
            values["rounds"] = [entry.to_json() for entry in self.rounds]
        if self.variants is not None:
            values["variants"] = {name: entry.to_json() for name, entry in self.variants.items()}
        return values


def summary_parts(
    stages: Mapping[str, StageSummary], labels: LabelSummary | None, rounds: Sequence[RoundSummary]
) -> dict[str, StageSummary | LabelSummary]:
    """Name all that a run has trained and labelled; with rounds, in every round."""
    parts: dict[str, StageSummary | LabelSummary | None] = {
        name: stages.get(name) for name in ("teacher", *COMPARED)
    }
    if not rounds:
        parts |= {"pseudo labels": labels, "student": stages.get("student")}
    for entry in rounds:
        parts[f"pseudo labels, round {entry.round}"] = entry.pseudo_labels
        parts[f"student, round {entry.round}"] = entry.student
    return {name: part for name, part in parts.items() if part is not None}


def _stages_to_json(summary: Summary | VariantSummary) -> JsonObject:
    return {name: stage.to_json() for name, stage in summary.stages.items()}


def _others_to_json(summary: Summary | VariantSummary) -> JsonObject:
    values = to_json(summary)
    values["pseudo_labels"] = summary.pseudo_labels.to_json() if summary.pseudo_labels else {}
    del values["stages"]
    if ORACLE in summary.stages:  # null where it is undefined
        values["oracle_share_percent"] = values.pop("oracle_share_percent", None)
    return values


def _gather(value: Any) -> Any:
    """Put the stages of a run or a variant under a key of their own, and do as below with each."""
    if not isinstance(value, dict):
        return value
    stages = {name: _gather_scores(value[name]) for name in STAGES if name in value}
    return {**value, "stages": stages, "pseudo_labels": _gather_counts(value.get("pseudo_labels"))}


def _gather_round(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    student, labels = _gather_scores(value.get("student")), _gather_counts(value.get("pseudo_labels"))
    return {**value, "student": student, "pseudo_labels": labels}


def _map_values(change: Callable[[Any], Any], value: Any) -> Any:
    return {key: change(own) for key, own in value.items()} if isinstance(value, dict) else value


def _map_list(change: Callable[[Any], Any], value: Any) -> Any:
    return [change(own) for own in value] if isinstance(value, list) else value


def _gather_scores(value: Any) -> Any:
    """Put the scores among a stage's keys under a key of their own."""
    if not isinstance(value, dict):
        return value
    names = value.keys() - {"checkpoint", "split", "steps", "seconds", "cost", "stopped"}
    return {**value, "scores": {name: own for name, own in value.items() if name in names and is_number(own)}}


def _gather_counts(value: Any) -> Any:
    """Put the counts and the measures of quality among the labels' keys under keys of their own."""
    if not isinstance(value, dict) or not value:
        return None if value == {} else value
    others = {name: own for name, own in value.items() if name not in LABEL_KEYS}
    counts = {name: own for name, own in others.items() if type(own) is int}
    quality = {
        name: own for name, own in others.items() if own is None or (type(own) is float and is_number(own))
    }
    return {**value, "counts": counts, "quality": quality}
