"""A training whose loss is not finite leaves diverged.json; such an end is a result (Paper: Figure 2)."""

from collections.abc import Iterator
from contextlib import contextmanager

from selftrain_jax import hosts
from selftrain_jax.jobs.run import Run
from selftrain_jax.run_files.diverged import mark_diverged, unmark_diverged
from selftrain_jax.stages.graph import Stage
from selftrain_jax.train.loop import NonFiniteLossError


@contextmanager
def marked_if_diverged(run: Run, stage: Stage) -> Iterator[None]:
    """Train a stage inside: an earlier mark is removed, and one is left if the loss is not finite again."""
    hosts.run_on_host0(lambda: unmark_diverged(run.workdir))
    try:
        yield
    except NonFiniteLossError:
        hosts.run_on_host0(lambda: mark_diverged(run.workdir, stage.kind))
        raise
