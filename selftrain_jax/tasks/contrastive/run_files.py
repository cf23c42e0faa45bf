"""What SimCLR's pre-training writes into its evaluation.json."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from selftrain_jax.run_files.evaluation import EvaluationDetails
from selftrain_jax.run_files.fields import Text


@dataclass(frozen=True, kw_only=True)
class ViewDetails(EvaluationDetails):
    """What an evaluation says beside its scores; `knn_top1` is one where the images have classes."""

    score_names: ClassVar = ("contrastive_top1", "contrastive_loss")

    objective: Annotated[Text, Field(default="simclr")]
