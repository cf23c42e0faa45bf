"""evaluation.json and evaluation_scales.json: what a stage's checkpoint reaches on the test split."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from selftrain_jax.run_files.fields import (
    COUNT,
    DURATION,
    NUMBER,
    NUMBER_BY_NAME,
    TEXT,
    Fields,
    JsonObject,
    Number,
    T,
    dict_of,
    is_number,
    open_fields,
    to_json,
)

EVALUATION_FILE = "evaluation.json"
SCALES_FILE = "evaluation_scales.json"


class EvaluationDetails:
    """What only one task measures: a dataclass of each is in `tasks/<task>/run_files.py`."""

    score_names: ClassVar[tuple[str, ...]]  # those that a file must have; the first counts most
    key_order: ClassVar[tuple[str, ...]] = ()  # of the file, where it is not that of `Evaluation.to_json`

    @classmethod
    def from_fields(cls: type[T], fields: Fields) -> T:
        """Read them from the evaluation's keys."""
        raise NotImplementedError


Details = TypeVar("Details", bound=EvaluationDetails)


@dataclass(frozen=True, kw_only=True)
class Evaluation(Generic[Details]):
    """The numbers of one checkpoint. Scores are fractions of 1, and -1 where they are undefined."""

    scores: Mapping[str, Number]  # by name: ap, ap50, ..., miou, ..., top1
    per_class: Mapping[str, Mapping[str, Number]]  # by class and name; counts (num_boxes, num_pixels) too
    details: Details
    num_images: int
    split: str
    checkpoint_step: int
    checkpoint: str  # its folder, from the workdir on
    training_secs: Number

    @classmethod
    def from_json(cls, value: Any, path: Path, details: type[Details]) -> "Evaluation[Details]":
        """Check a file.

        Raises:
            InputError: a key is missing or of another form than expected.
        """
        remedy = f"Delete it and run --job=evaluate --stage={path.parent.name} again."
        fields = open_fields(value, path, remedy)
        for name in details.score_names:
            fields.get(name, NUMBER)
        known = cls(
            scores={},
            per_class=fields.get("per_class", _NUMBERS_BY_CLASS, {}),
            details=details.from_fields(fields),
            num_images=fields.get("num_images", COUNT),
            split=fields.get("split", TEXT),
            checkpoint_step=fields.get("checkpoint_step", COUNT),
            checkpoint=fields.get("checkpoint", TEXT),
            training_secs=fields.get("training_secs", DURATION),
        )
        others = fields.others("format_version", *known.to_json())
        scores = {name: score for name, score in others.items() if is_number(score)}
        return replace(known, scores=scores)

    def to_json(self) -> JsonObject:
        """Return the object for the file, keys in the order of the file."""
        values = {
            **self.scores,
            **({"per_class": to_json(self.per_class)} if self.per_class else {}),
            **to_json(self.details),
            "num_images": self.num_images,
            "split": self.split,
            "checkpoint_step": self.checkpoint_step,
            "checkpoint": self.checkpoint,
            "training_secs": self.training_secs,
        }
        return {key: values[key] for key in (*self.details.key_order, *values) if key in values}


_NUMBERS_BY_CLASS = dict_of(NUMBER_BY_NAME, "numbers by class and name")
