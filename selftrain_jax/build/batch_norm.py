"""Where BatchNorm's statistics come from in a stage's training: config.student.batch_norm.

Call `check_batch_norm`, then `with_statistics`.
"""

from jaxtyping import PRNGKeyArray
from ml_collections import ConfigDict

from selftrain_jax.errors import InputError
from selftrain_jax.models.batch_norm import moments_frozen, moments_of
from selftrain_jax.pretrain.init_modes import NAMED_MODES, InitReport
from selftrain_jax.stages.choices import batch_norm_of
from selftrain_jax.types import Batch, LossTerms, Task, Variables


def check_batch_norm(config: ConfigDict) -> None:
    """See that frozen statistics are those of trained weights.

    Raises:
        InputError: a value that does not exist, or the student starts from a network without any.
    """
    init = config.student.init
    is_frozen = batch_norm_of(config, "student") == "frozen"
    if is_frozen and config.unlabeled.kind != "none" and init in ("rand", *NAMED_MODES):
        what = "random weights" if init == "rand" else "a backbone alone, with random weights after it"
        raise InputError(
            "config.student.batch_norm=frozen keeps the statistics of the start, but "
            f"config.student.init={init} is {what}, whose statistics are of no image. Use "
            "--config.student.init=teacher, or --config.student.batch_norm=human."
        )


def check_start(config: ConfigDict, stage: str, report: InitReport, variables: Variables) -> None:
    """See that no frozen statistics are of modules whose weights stay random.

    Raises:
        InputError: some are.
    """
    random = [module for module in report.random if module in variables.get("batch_stats", {})]
    if batch_norm_of(config, stage) == "frozen" and random:
        raise InputError(
            "config.student.batch_norm=frozen keeps the statistics of the start, but "
            f"config.student.init={report.source} leaves {', '.join(random)} random. Use "
            "--config.student.init=teacher, or --config.student.batch_norm=human."
        )


def with_statistics(task: Task, source: str) -> Task:
    """Make a task's loss take BatchNorm's statistics from a source: batch, human or frozen.

    With "human" the statistics, and so their running averages, come from the human-labelled images of the
    batch; pseudo-labelled ones are normalised with them. With "frozen" the running averages normalise and
    stay as they are; scale and bias are trained.
    """
    if source == "batch":
        return task

    def loss(variables: Variables, batch: Batch, rng: PRNGKeyArray) -> tuple[LossTerms, Variables]:
        with moments_frozen() if source == "frozen" else moments_of(~batch.is_pseudo):
            return task.loss(variables, batch, rng)

    return task._replace(loss=loss)
