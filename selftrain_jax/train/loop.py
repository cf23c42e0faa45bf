"""The loop that trains teacher, control and student; call `train`.

At each step it evaluates, saves a checkpoint, fetches a batch and dispatches the update, and only then reads
the metrics of the update before, so that the device never waits for the host.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from selftrain_jax import hosts
from selftrain_jax.cost.meter import metered
from selftrain_jax.errors import InputError, RunAgainError
from selftrain_jax.text import shorten_list
from selftrain_jax.train.checkpoint import Checkpoints
from selftrain_jax.train.metric_log import MetricLog, Speed, progress_line
from selftrain_jax.train.optimizer import Schedule
from selftrain_jax.train.patience import find_first_best, has_stopped_rising
from selftrain_jax.train.rollback import Rollback, add_rollback, read_rollbacks, scale_schedule
from selftrain_jax.train.sharding import shard_shapes, shard_state
from selftrain_jax.train.state import TrainState, eval_variables
from selftrain_jax.train.step import TrainStep
from selftrain_jax.train.stop_signal import IsStopping, deferred_stop
from selftrain_jax.types import Batches, BatchStream, Metrics, Variables

Evaluate = Callable[[Variables], Mapping[str, float]]


class NonFiniteLossError(InputError):
    """The loss or the gradient of `step` is NaN or infinite; such a state is never saved."""

    def __init__(self, step: int, message: str) -> None:
        super().__init__(message)
        self.step = step


@dataclass(frozen=True)
class _Stage:
    """What does not change while a stage trains."""

    name: str
    train_step: TrainStep
    schedule: Schedule
    start_step: int
    num_steps: int
    mesh: Mesh
    evaluate: Evaluate | None
    evaluate_every: int
    patience: int
    checkpoint_every: int
    log_every: int
    best_metric: str
    checkpoints: Checkpoints
    log: MetricLog
    speed: Speed
    is_stopping: IsStopping
    shown: Sequence[str]


class _PendingMetrics(NamedTuple):
    """The metrics of an update that was dispatched and may still be running."""

    step: int
    metrics: Metrics
    image_ids: list[str]


def train(
    *,
    name: str,
    train_step: TrainStep,
    new_state: Callable[[], TrainState],
    state_shapes: TrainState,
    schedule: Schedule,
    batches: Batches,
    num_steps: int,
    directory: Path | str,
    mesh: Mesh,
    evaluate: Evaluate | None = None,
    evaluate_every: int = 0,
    patience: int = 0,
    checkpoint_every: int = 0,
    log_every: int = 100,
    best_metric: str = "eval/ap",
    keep: int = 2,
    tensorboard: bool = False,
    max_rollbacks: int = 0,
    shown: Sequence[str] = (),
) -> TrainState:
    """Train up to `num_steps` updates, from the newest checkpoint in `directory` or else from `new_state()`.

    `new_state` always makes the same state, of the shapes and dtypes `state_shapes` (`jax.eval_shape`); it is
    called only where there is no checkpoint to start from, so that the devices hold one state, not two.

    `train_step` is compiled (`jit_train_step`), and `batches` are on the devices (`shard_batch`). The end of
    the run is evaluated and saved, whatever the intervals; an interval of 0 means only then. A checkpoint
    follows every evaluation. The log has a line every `log_every` updates and one for the last update; what
    is printed has the metrics that are named in `shown` beside the loss. When a
    loss is not finite, training returns to the newest checkpoint with half the learning rate, up to
    `max_rollbacks` times.

    With a `patience` the run also ends where `best_metric` has not risen for so many evaluations in a row.

    A resumed run has the state, the batches and the random numbers of one that was not interrupted. On CPU,
    with as many devices and the same versions, it has the same weights, bit for bit. On GPU they are the same
    up to rounding, as kernels may add in another order each time; docs/faults.md says what holds where.

    Raises:
        NonFiniteLossError: the loss or its gradient is NaN or infinite.
        InputError: the checkpoint is of another model or past `num_steps`, or the disk is full.
        RunAgainError: SIGTERM was received; the current step was finished and saved.
    """
    directory = Path(directory)

    def attempt(rollbacks: list[Rollback]) -> TrainState:
        with Checkpoints(directory, keep=keep) as checkpoints:
            begin, earlier_secs = _resume(checkpoints, mesh, new_state, state_shapes, num_steps)
            start_step = int(begin.step)
            with (
                MetricLog(directory, resume_step=start_step, tensorboard=tensorboard) as log,
                deferred_stop() as is_stopping,
                metered(mesh.devices.flatten().tolist(), checkpoints.cost) as meter,
            ):
                stage = _Stage(
                    name=name,
                    train_step=train_step,
                    schedule=scale_schedule(schedule, rollbacks),
                    start_step=start_step,
                    num_steps=num_steps,
                    mesh=mesh,
                    evaluate=evaluate,
                    evaluate_every=evaluate_every,
                    patience=patience,
                    checkpoint_every=checkpoint_every,
                    log_every=log_every,
                    best_metric=best_metric,
                    checkpoints=checkpoints,
                    log=log,
                    speed=Speed(earlier_secs, meter),
                    is_stopping=is_stopping,
                    shown=shown,
                )
                with closing(batches(start_step)) as stream:
                    return _train_to_end(stage, begin, stream)

    while True:
        rollbacks = hosts.run_on_host0(lambda: read_rollbacks(directory))
        try:
            return attempt([Rollback(*values) for values in rollbacks])
        except NonFiniteLossError as error:
            if len(rollbacks) >= max_rollbacks:
                raise
            latest = hosts.run_on_host0(functools.partial(add_rollback, directory, error.step))
            hosts.log(
                f"{error}\n{name}: returns to the last checkpoint, with the learning rate times "
                f"{Rollback(*latest).learning_rate_factor:g}"
            )


def _train_to_end(stage: _Stage, state: TrainState, stream: BatchStream) -> TrainState:
    """Train; an evaluation that is due is made even if the run has to stop: the resumed run would skip it."""
    pending: _PendingMetrics | None = None
    for step in range(stage.start_step, stage.num_steps + 1):
        is_evaluation = stage.evaluate is not None and _is_due(stage, step, stage.evaluate_every)
        is_stop = stage.is_stopping(step)
        is_checkpoint = _is_due(stage, step, stage.checkpoint_every) or (is_stop and step > stage.start_step)
        if is_evaluation or is_checkpoint:
            _read(stage, pending)  # a state whose loss was not finite must not be saved
            pending = None
            _save(stage, state, stage.evaluate if is_evaluation else None)
        if is_stop:
            raise RunAgainError(
                f"{stage.name}: stopped by SIGTERM at step {step} of {stage.num_steps}, saved"
            )
        if step == stage.num_steps or _is_over(stage, step, is_evaluation):
            break
        batch, image_ids = stage.speed.fetch(stream, functools.partial(_is_done, pending))
        learning_rate = np.float32(stage.schedule(step))
        state, metrics = stage.train_step(state, batch, learning_rate)
        _read(stage, pending)
        pending = _PendingMetrics(step + 1, metrics, image_ids)
    return state


def _is_over(stage: _Stage, step: int, is_evaluation: bool) -> bool:
    """Tell whether val has stopped rising, by the scores that the checkpoints keep; all hosts alike."""
    evaluations, patience = stage.checkpoints.evaluations, stage.patience
    if not patience or not (is_evaluation or step == stage.start_step):
        return False
    is_over = hosts.run_on_host0(lambda: has_stopped_rising(evaluations, patience))
    if is_over:
        best = find_first_best(evaluations)
        hosts.log(
            f"{stage.name}: stopped at step {step:,} of at most {stage.num_steps:,}: {stage.best_metric} has "
            f"not risen for {patience} evaluations in a row; the best is {best.score:.4g}, at step "
            f"{best.step:,}"
        )
    return is_over


def _is_done(pending: _PendingMetrics | None) -> bool:
    """Tell whether the devices have finished an update; True if there is none."""
    return pending is None or all(value.is_ready() for value in pending.metrics.values())  # type: ignore[attr-defined]


def _resume(
    checkpoints: Checkpoints,
    mesh: Mesh,
    new_state: Callable[[], TrainState],
    state_shapes: TrainState,
    num_steps: int,
) -> tuple[TrainState, float]:
    """Return the newest checkpoint's state, or else a new one, and the seconds of training so far."""
    restored = checkpoints.restore_latest(shard_shapes(mesh, state_shapes))
    if restored is None:
        return shard_state(mesh, new_state()), 0.0
    if restored[0].step > num_steps:
        raise InputError(
            f"{checkpoints.directory} has a checkpoint of step {int(restored[0].step)}, past the "
            f"{num_steps} steps of this run; use another workdir, or as many steps as before"
        )
    return restored


def _is_due(stage: _Stage, step: int, every: int) -> bool:
    is_interval = every > 0 and step % every == 0
    return step != stage.start_step and (is_interval or step == stage.num_steps)


def _read(stage: _Stage, pending: _PendingMetrics | None) -> None:
    """Wait for an update, raise if its loss is not finite, and log it if that is due."""
    if pending is None:
        return
    step = pending.step
    metrics = {key: float(value) for key, value in jax.device_get(dict(pending.metrics)).items()}
    _check_finite(stage, pending, metrics)
    stage.speed.count(len(pending.image_ids) * jax.process_count())
    if step % stage.log_every == 0 or step == stage.num_steps:
        metrics |= stage.speed.metrics(stage.num_steps - step)
        stage.log.write(step, metrics)
        hosts.log(progress_line(stage.name, stage.num_steps, step, metrics, stage.shown))
    elif step == stage.start_step + 1:
        loss = f"{metrics['train/loss']:.4g}"
        hosts.log(f"{stage.name} step {step}/{stage.num_steps}  loss {loss}  compiled and running")
        stage.speed.restart()  # most of the time so far was compiling


def _save(stage: _Stage, state: TrainState, evaluate: Evaluate | None) -> None:
    """Evaluate if asked, then save; the checkpoint keeps the score, by which the best one is found later."""
    score = None
    with stage.speed.pause():
        if evaluate is not None:
            scores = evaluate(eval_variables(state))
            stage.log.write(int(state.step), scores)
            shown = "  ".join(f"{k} {v:.4g}" for k, v in scores.items())
            hosts.log(f"{stage.name} step {int(state.step)}  {shown}")
            if stage.best_metric not in scores:
                raise InputError(f"best_metric is {stage.best_metric!r}; evaluation gives {sorted(scores)}")
            score = float(scores[stage.best_metric])
        cost, secs = stage.speed.cost(), stage.speed.training_secs
        stage.checkpoints.save(state, score=score, training_secs=secs, cost=cost)


def _check_finite(stage: _Stage, pending: _PendingMetrics, metrics: Mapping[str, float]) -> None:
    if all(math.isfinite(metrics[key]) for key in ("train/loss", "train/gradient_norm")):
        return
    losses = ", ".join(f"{key} {value:g}" for key, value in metrics.items() if key.startswith("train/"))
    last = stage.checkpoints.latest_step()
    checkpoint = f"step {last} in {stage.checkpoints.directory}" if last else "none yet"
    raise NonFiniteLossError(
        pending.step,
        f"{stage.name}: not finite at step {pending.step}: {losses}\n"
        f"  images of that batch: {shorten_list(pending.image_ids, 8)}\n"
        f"  last good checkpoint: {checkpoint}\n"
        "  try a lower learning rate, clip_norm 10, or a smaller alpha with the loss normalisation on; "
        "if it comes back at the same step, look at the boxes of these images",
    )
