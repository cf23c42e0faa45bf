"""Ten training steps and some batches of labels, timed with the run's own data; nothing is written.

Call `measure_run` on all hosts. Weights are random: they decide no speed.
"""

import contextlib
import functools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from selftrain_jax import hosts
from selftrain_jax.build.data import build_batches
from selftrain_jax.build.joint import build_joint_batches
from selftrain_jax.data.source import Source
from selftrain_jax.jobs.run import Run
from selftrain_jax.plan.speed import Speed
from selftrain_jax.stages.graph import TEACHER
from selftrain_jax.train.sharding import shard_batch, shard_state
from selftrain_jax.train.state import TrainState, eval_variables
from selftrain_jax.types import Batch, Batches

NUM_STEPS = 10


@dataclass(frozen=True)
class Measured:
    """What was timed, and what the compiler says of a step's memory on one device, where it does."""

    training: Speed
    labelling: Speed | None
    compile_secs: float
    step_bytes: int | None


def measure_run(run: Run) -> Measured:
    """Time the teacher's step with its own batches, and inference on unlabelled images.

    Raises:
        InputError: the data cannot be read.
    """
    state = shard_state(run.experiment.mesh, run.experiment.new_state())
    labelling = None if run.sources.unlabeled is None else _time_labels(run, state, run.sources.unlabeled)
    with contextlib.closing(_batches(run)(0)) as stream:
        return _time_steps(run, state, stream, labelling)


def _batches(run: Run) -> Batches:
    place = functools.partial(shard_batch, run.experiment.mesh)
    batches = build_batches(run.config, TEACHER.kind, run.sources.human, None, place=place)
    if run.joint is None:
        return batches
    return build_joint_batches(run.config, TEACHER.kind, batches, run.joint, place=place)


def _time_steps(
    run: Run, state: TrainState, stream: Iterator[tuple[Batch, list[str]]], labelling: Speed | None
) -> Measured:
    """Compile the step, take one, and time the next ones; the state is donated."""
    rate, (batch, _) = np.float32(0.0), next(stream)
    begin = time.monotonic()
    step: Any = run.experiment.train_step  # jitted
    compiled = step.lower(state, batch, rate).compile()
    compile_secs = time.monotonic() - begin
    state, metrics = compiled(state, batch, rate)
    jax.block_until_ready(metrics)
    begin = time.monotonic()
    for _ in range(NUM_STEPS):
        state, metrics = compiled(state, next(stream)[0], rate)
    jax.block_until_ready(metrics)
    images = NUM_STEPS * run.config.teacher.batch_size
    speed = Speed(images / (time.monotonic() - begin), f"{NUM_STEPS} steps now")
    return Measured(speed, labelling, compile_secs, _step_bytes(compiled))


def _step_bytes(compiled: Any) -> int | None:
    """Add up arguments, results that do not take an argument's place, and temporaries."""
    found = compiled.memory_analysis()
    if found is None:
        return None
    results = found.output_size_in_bytes - found.alias_size_in_bytes
    return found.argument_size_in_bytes + results + found.temp_size_in_bytes


def _time_labels(run: Run, state: TrainState, source: Source) -> Speed:
    """Time the batches after the first, which compiles."""
    labeller = run.predictor.labeller([eval_variables(state)], source)
    chunk = range(min(labeller.batch_size, len(source)))
    results = iter(labeller.infer([(0, chunk)] * (NUM_STEPS + 1)))
    next(results)
    begin = time.monotonic()
    images = sum(len(found) for _, found in results) * hosts.count()
    return Speed(images / (time.monotonic() - begin), f"{NUM_STEPS} batches now")
