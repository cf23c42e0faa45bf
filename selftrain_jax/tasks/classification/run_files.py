"""What only classification writes into the files of a run's folder: nothing beside its scores."""

from dataclasses import dataclass
from typing import ClassVar

from selftrain_jax.run_files.evaluation import EvaluationDetails
from selftrain_jax.run_files.fields import Fields


@dataclass(frozen=True)
class ClassDetails(EvaluationDetails):
    """What an evaluation says of whole images, beside its scores."""

    score_names: ClassVar[tuple[str, ...]] = ("top1", "top5")

    @classmethod
    def from_fields(cls, fields: Fields) -> "ClassDetails":
        """Read them from the evaluation's keys."""
        return cls()
