"""What only classification writes into the files of a run's folder: nothing beside its scores."""

from dataclasses import dataclass
from typing import ClassVar

from selftrain_jax.run_files.evaluation import EvaluationDetails


@dataclass(frozen=True)
class ClassDetails(EvaluationDetails):
    """What an evaluation says of whole images, beside its scores."""

    score_names: ClassVar = ("top1", "top5")
