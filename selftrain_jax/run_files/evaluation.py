"""evaluation.json and evaluation_scales.json: what a stage's checkpoint reaches on the test split."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import Field

from selftrain_jax.run_files.cost import Cost
from selftrain_jax.run_files.fields import (
    AS_GIVEN,
    MISSING,
    Count,
    Duration,
    FiniteNumber,
    JsonObject,
    Text,
    is_number,
    open_document,
    to_json,
)

EVALUATION_FILE = "evaluation.json"
SCALES_FILE = "evaluation_scales.json"


class EvaluationDetails:
    """What only one task measures: a dataclass of each is in `tasks/<task>/run_files.py`."""

    score_names: ClassVar[tuple[str, ...]]  # those that a file must have; the first counts most
    key_order: ClassVar[tuple[str, ...]] = ()  # of the file, where it is not that of `Evaluation.to_json`


Details = TypeVar("Details", bound=EvaluationDetails)


@dataclass(frozen=True, kw_only=True)
class Evaluation(Generic[Details]):
    """The numbers of one checkpoint. Scores are fractions of 1, and -1 where they are undefined."""

    scores: Mapping[Text, FiniteNumber]  # by name: ap, ap50, ..., miou, ..., top1
    per_class: Annotated[Mapping[Text, Mapping[Text, FiniteNumber]], Field(default_factory=dict)]
    details: Annotated[Details, AS_GIVEN]
    num_images: Count
    split: Text
    checkpoint_step: Count
    checkpoint: Text  # its folder, from the workdir on
    training_secs: Duration
    cost: Cost | None = None  # of the training; None where it is unknown

    @classmethod
    def from_json(cls, value: Any, path: Path, details: type[Details]) -> "Evaluation[Details]":
        """Check a file. Raises: InputError, as `Document.read`."""
        remedy = f"Delete it and run --job=evaluate --stage={path.parent.name} again."
        document = open_document(value, path, remedy)
        known = document.read(cls, scores={}, details=document.read(details))
        others = document.others("format_version", *known.to_json())
        scores = {name: score for name, score in others.items() if is_number(score)}
        for name in details.score_names:
            if name not in scores:
                raise document.wrong(name, value.get(name, MISSING), "a finite number")
        return replace(known, scores=scores)

    def to_json(self) -> JsonObject:
        """Return the object for the file, keys in the order of the file."""
        values = to_json(self)
        scores, details, per_class = (values.pop(key) for key in ("scores", "details", "per_class"))
        values = {**scores, **({"per_class": per_class} if per_class else {}), **details, **values}
        return {key: values[key] for key in (*self.details.key_order, *values) if key in values}
