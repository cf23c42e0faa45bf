"""What a pre-training learns from: the parts that differ between its objectives, as one value of each."""

from collections.abc import Callable
from dataclasses import dataclass

from jax.sharding import Mesh
from ml_collections import ConfigDict

from selftrain_jax.data.source import Source
from selftrain_jax.run_files.evaluation import Evaluation, EvaluationDetails
from selftrain_jax.types import Batches, Category, Task, Variables


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A value of config.pretrain.objective. Every function takes the config."""

    check_config: Callable[[ConfigDict], None]  # refuses what does not go together
    open_sources: Callable[[ConfigDict], tuple[Source, Source]]  # train and val
    digest: Callable[[Source], str]  # of what training takes from its source
    build_task: Callable[[ConfigDict, tuple[Category, ...]], Task]
    # Training batches of a source; keywords are the seed and as in `build_pretrain_batches`.
    build_batches: Callable[..., Batches]
    # From config, task, mesh, train and val.
    make_measure: Callable[[ConfigDict, Task, Mesh, Source, Source], Callable[[Variables], dict[str, float]]]
    details: type[EvaluationDetails]  # its part of evaluation.json
    curve: tuple[str, ...]  # scores of val while it trains, where they are measured
    headline: Callable[[Source], str]  # the score that decides which checkpoint is the best; from train
    shown: tuple[str, ...]  # metrics on a line of progress, beside the loss
    describe: Callable[[Evaluation], str]  # what was reached, in a phrase
    idle_keys: tuple[str, ...]  # of the config: they decide nothing
