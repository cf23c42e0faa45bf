"""The loop that trains teacher, control and student alike: start reading at `train`.

The order at each step: evaluate, checkpoint, fetch a batch, dispatch the update, and only then read
the metrics of the update before, so that the device never waits for the host.
"""

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from selftrain_jax import hosts
from selftrain_jax.errors import InputError, RunAgainError
from selftrain_jax.train.checkpoint import Checkpoints
from selftrain_jax.train.metric_log import MetricLog, progress_line
from selftrain_jax.train.optimizer import Schedule
from selftrain_jax.train.rollback import Rollback, lowered, note_rollback, read_rollbacks
from selftrain_jax.train.sharding import place_state, shard_batch
from selftrain_jax.train.speed import Speed
from selftrain_jax.train.state import TrainState, eval_variables
from selftrain_jax.train.step import TrainStep
from selftrain_jax.train.stop_signal import IsStopping, deferred_stop
from selftrain_jax.types import Batch, Batches, Metrics, Variables

Evaluate = Callable[[Variables], Mapping[str, float]]


class NonFiniteLossError(InputError):
    """The loss or its gradient of a `step` became NaN or infinite; no such state is ever saved."""

    def __init__(self, step: int, message: str) -> None:
        super().__init__(message)
        self.step = step


@dataclass(frozen=True)
class _Run:
    """What stays the same while a stage trains."""

    name: str
    train_step: TrainStep
    schedule: Schedule
    start_step: int
    num_steps: int
    mesh: Mesh
    evaluate: Evaluate | None
    evaluate_every: int
    checkpoint_every: int
    log_every: int
    best_metric: str
    checkpoints: Checkpoints
    log: MetricLog
    speed: Speed
    is_stopping: IsStopping


class _Unread(NamedTuple):
    """An update that was dispatched and whose metrics were not looked at yet."""

    step: int
    metrics: Metrics
    image_ids: list[str]


def train(
    *,
    name: str,
    train_step: TrainStep,
    state: TrainState,
    schedule: Schedule,
    batches: Batches,
    num_steps: int,
    directory: Path | str,
    mesh: Mesh,
    evaluate: Evaluate | None = None,
    evaluate_every: int = 0,
    checkpoint_every: int = 0,
    log_every: int = 100,
    best_metric: str = "eval/ap",
    keep: int = 2,
    tensorboard: bool = False,
    max_rollbacks: int = 0,
) -> TrainState:
    """Train up to `num_steps` updates, from the newest checkpoint in `directory` or from `state`.

    `train_step` is compiled (`jit_train_step`). Every evaluation is followed by a checkpoint, and both
    come at the end whatever the intervals, where 0 means at the end only. The log has a line every
    `log_every` updates and for the last. Resuming is exact: the same command gives the same
    weights, bit for bit, whether it was interrupted or not. When a loss is not finite, training goes back
    to the newest checkpoint with half the learning rate, up to `max_rollbacks` times.

    Raises:
        NonFiniteLossError: the loss or its gradient is NaN or infinite.
        InputError: the checkpoint is of another model or past `num_steps`, or the disk is full.
        RunAgainError: SIGTERM came; the step under way was finished and saved.
    """
    directory = Path(directory)

    def attempt(rollbacks: list[Rollback]) -> TrainState:
        with Checkpoints(directory, keep=keep) as checkpoints:
            begin, earlier_secs = _resume(checkpoints, place_state(mesh, state), num_steps)
            start_step = int(begin.step)
            with (
                MetricLog(directory, resume_step=start_step, tensorboard=tensorboard) as log,
                deferred_stop() as is_stopping,
            ):
                run = _Run(
                    name=name,
                    train_step=train_step,
                    schedule=lowered(schedule, rollbacks),
                    start_step=start_step,
                    num_steps=num_steps,
                    mesh=mesh,
                    evaluate=evaluate,
                    evaluate_every=evaluate_every,
                    checkpoint_every=checkpoint_every,
                    log_every=log_every,
                    best_metric=best_metric,
                    checkpoints=checkpoints,
                    log=log,
                    speed=Speed(earlier_secs),
                    is_stopping=is_stopping,
                )
                return _train_to_end(run, begin, batches(start_step))

    while True:
        rollbacks = hosts.run_on_host0(lambda: read_rollbacks(directory))
        try:
            return attempt([Rollback(*values) for values in rollbacks])
        except NonFiniteLossError as error:
            if len(rollbacks) >= max_rollbacks:
                raise
            latest = hosts.run_on_host0(functools.partial(note_rollback, directory, error.step))
            hosts.log(
                f"{error}\n{name}: goes back, learning rate times {Rollback(*latest).learning_rate_factor:g}"
            )


def _train_to_end(run: _Run, state: TrainState, stream: Iterator[tuple[Batch, list[str]]]) -> TrainState:
    """Evaluate, save, fetch, dispatch, read the update before; at the last step only the first two.

    An evaluation that is due is made even when the run is told to stop: resumed, it would be left out.
    """
    unread: _Unread | None = None
    for step in range(run.start_step, run.num_steps + 1):
        is_evaluation = run.evaluate is not None and _is_due(run, step, run.evaluate_every)
        is_stop = run.is_stopping(step)
        if is_evaluation or _is_due(run, step, run.checkpoint_every) or (is_stop and step > run.start_step):
            _read(run, unread)  # a state whose loss was not finite must not be saved
            unread = None
            _save(run, state, run.evaluate if is_evaluation else None)
        if is_stop:
            raise RunAgainError(f"{run.name}: stopped by SIGTERM at step {step} of {run.num_steps}, saved")
        if step == run.num_steps:
            break
        batch, image_ids = run.speed.fetch(stream, functools.partial(_is_done, unread))
        learning_rate = np.float32(run.schedule(step))
        state, metrics = run.train_step(state, shard_batch(run.mesh, batch), learning_rate)
        _read(run, unread)
        unread = _Unread(step + 1, metrics, image_ids)
    return state


def _is_done(update: _Unread | None) -> bool:
    """Tell whether the devices have finished an update; nothing to do counts as finished."""
    return update is None or all(value.is_ready() for value in update.metrics.values())  # type: ignore[attr-defined]


def _resume(checkpoints: Checkpoints, state: TrainState, num_steps: int) -> tuple[TrainState, float]:
    restored = checkpoints.restore_latest(state)
    if restored is None:
        return state, 0.0
    if restored[0].step > num_steps:
        raise InputError(
            f"{checkpoints.directory} holds a checkpoint of step {int(restored[0].step)}, past the "
            f"{num_steps} steps of this run; use another workdir, or as many steps as before"
        )
    return restored


def _is_due(run: _Run, step: int, every: int) -> bool:
    if step == run.start_step:
        return False
    return step == run.num_steps or (every > 0 and step % every == 0)


def _read(run: _Run, unread: _Unread | None) -> None:
    """Wait for an update, stop if its loss is not finite, and log it if it is time."""
    if unread is None:
        return
    step = unread.step
    metrics = {key: float(value) for key, value in jax.device_get(dict(unread.metrics)).items()}
    _check_finite(run, unread, metrics)
    run.speed.count(len(unread.image_ids) * jax.process_count())
    if step % run.log_every == 0 or step == run.num_steps:
        metrics |= run.speed.metrics(run.num_steps - step)
        run.log.write(step, metrics)
        hosts.log(progress_line(run.name, run.num_steps, step, metrics))
    elif step == run.start_step + 1:
        hosts.log(
            f"{run.name} step {step}/{run.num_steps}  loss {metrics['train/loss']:.4g}  compiled and running"
        )
        run.speed.restart()  # compiling took most of it


def _save(run: _Run, state: TrainState, evaluate: Evaluate | None) -> None:
    """Evaluate if asked, then save; the score goes into the checkpoint, so that the best is known later."""
    score = None
    with run.speed.pause():
        if evaluate is not None:
            scores = evaluate(eval_variables(state))
            run.log.write(int(state.step), scores)
            hosts.log(
                f"{run.name} step {int(state.step)}  " + "  ".join(f"{k} {v:.4g}" for k, v in scores.items())
            )
            if run.best_metric not in scores:
                raise InputError(f"best_metric is {run.best_metric!r}; evaluation gives {sorted(scores)}")
            score = float(scores[run.best_metric])
        run.checkpoints.save(state, score=score, training_secs=run.speed.training_secs)


def _check_finite(run: _Run, unread: _Unread, metrics: Mapping[str, float]) -> None:
    watched = {key: metrics[key] for key in ("train/loss", "train/gradient_norm")}
    if all(math.isfinite(value) for value in watched.values()):
        return
    losses = {key: value for key, value in metrics.items() if key.startswith("train/")}
    last = run.checkpoints.latest_step()
    more = f" and {len(unread.image_ids) - 8} more" if len(unread.image_ids) > 8 else ""
    raise NonFiniteLossError(
        unread.step,
        f"{run.name}: not finite at step {unread.step}: "
        + ", ".join(f"{key} {value:g}" for key, value in losses.items())
        + f"\n  images of that batch: {', '.join(unread.image_ids[:8])}{more}"
        + f"\n  last good checkpoint: {f'step {last} in {run.checkpoints.directory}' if last else 'none yet'}"
        + "\n  try a lower learning rate, clip_norm 10, or a smaller alpha with the loss normalisation on; "
        "if it comes back at the same step, look at the boxes of these images",
    )
