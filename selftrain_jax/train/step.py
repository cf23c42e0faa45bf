"""One update of the teacher or the student; a batch without pseudo labels makes it plain training.

`make_train_step` returns the pure function, `jit_train_step` compiles it for a mesh.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jax.typing import ArrayLike
from jaxtyping import PRNGKeyArray

from selftrain_jax.errors import InputError
from selftrain_jax.models.spatial_sharding import split_rows_over
from selftrain_jax.selftrain.loss_norm import LossNormalizer, LossNormState
from selftrain_jax.train.sharding import constrain_state
from selftrain_jax.train.state import TrainState, has_ema
from selftrain_jax.types import Batch, Metrics, Task, Variables

TrainStep = Callable[[TrainState, Batch, ArrayLike], tuple[TrainState, Metrics]]

RematPolicy = Callable[..., bool] | None  # which results are saved for the backward pass; None: all


class _StepCarry(NamedTuple):
    """What the forward and backward pass of one slice of the batch hands on to that of the next."""

    variables: Variables
    loss_norm: LossNormState


def make_train_step(
    task: Task,
    tx: optax.GradientTransformation,
    normalizer: LossNormalizer,
    *,
    accumulation: int = 1,
    ema_decay: float = 0.0,
    ema_ramp: bool = True,
    remat: str = "none",
    period: int = 2,
) -> TrainStep:
    """Make `(state, batch, learning_rate) -> (state, metrics)`: w = w - learning_rate * tx(gradient).

    With `accumulation` > 1 the gradients of that many slices of the batch are averaged. Each has as many of
    every `period` images as the others: 2 where human- and pseudo-labelled ones alternate.

    If the state keeps an average of the weights, ema = d * ema + (1 - d) * w after the update, where
    d = min(ema_decay, (1 + t) / (10 + t)) and t is the number of updates before this one in the stage, not of
    slices. The start's share of the average is t! 9! / (t + 9)! while d rises: less than one in a million
    after 15 updates. Without `ema_ramp`, d = ema_decay, and ema_decay ** t of the start is left: 55 % at
    0.9998 after 3,000 updates. BatchNorm's statistics are not averaged again: see `eval_variables`.

    `remat` is for rematerialisation: with "convolutions" only the outputs of convolutions and matrix products
    are saved for the backward pass, which recomputes the rest (normalisation, activations); with "none"
    everything is saved.

    Raises:
        InputError: `remat` is neither.

    Paper: section 3.2.
    Differs: with accumulation, BatchNorm and the averages of the loss normalisation are updated slice by
    slice, as if each slice were a batch. The paper's detectors keep no average of weights.
    Reference: tf.train.ExponentialMovingAverage with num_updates, as in the official EfficientNet code.
    """
    gradient = partial(_gradient, task, normalizer, _remat_policy(remat))
    new_share = partial(_new_share, ema_decay, ema_ramp)

    def train_step(state: TrainState, batch: Batch, learning_rate: ArrayLike) -> tuple[TrainState, Metrics]:
        rng = jax.random.fold_in(state.rng, state.step)
        begin = _StepCarry(state.variables, state.loss_norm)
        if accumulation == 1:
            grads, end, metrics = gradient(begin, batch, rng)
        else:
            grads, end, metrics = _accumulate(gradient, begin, batch, rng, accumulation, period)
        old_params = state.variables["params"]
        updates, opt_state = tx.update(grads, state.opt_state, old_params)
        params = jax.tree.map(lambda w, update: w - learning_rate * update, old_params, updates)
        new_state = TrainState(
            step=state.step + 1,
            variables={**end.variables, "params": params},
            opt_state=opt_state,
            loss_norm=end.loss_norm,
            rng=state.rng,
            ema=_move_ema(state.ema, params, new_share(state.step)) if has_ema(state) else (),
        )
        return new_state, {
            **metrics,
            "train/gradient_norm": _global_norm(grads),
            "train/learning_rate": jnp.asarray(learning_rate, jnp.float32),
        }

    return train_step


def jit_train_step(step: TrainStep, mesh: Mesh) -> TrainStep:
    """Compile a step for a sharded state and sharded batches; the old state is donated."""

    def train_step(state: TrainState, batch: Batch, learning_rate: ArrayLike) -> tuple[TrainState, Metrics]:
        with split_rows_over(mesh):
            return constrain_state(mesh, step(state, batch, learning_rate))

    return jax.jit(train_step, donate_argnums=0)


def _gradient(
    task: Task,
    normalizer: LossNormalizer,
    policy: RematPolicy,
    begin: _StepCarry,
    batch: Batch,
    rng: PRNGKeyArray,
) -> tuple[Any, _StepCarry, Metrics]:
    """Differentiate normalised loss + auxiliary loss; `task.loss` also returns the collections it changed."""

    def total_loss(params: Any) -> tuple[jax.Array, tuple[_StepCarry, Metrics]]:
        terms, changed = task.loss({**begin.variables, "params": params}, batch, rng)
        loss, loss_norm, metrics = normalizer.update(terms, begin.loss_norm)
        variables = {**begin.variables, **changed, "params": begin.variables["params"]}
        total = loss + terms.auxiliary
        return total, (_StepCarry(variables, loss_norm), {**terms.metrics, **metrics, "train/loss": total})

    loss_function = jax.checkpoint(total_loss, policy=policy) if policy else total_loss
    grads, (end, metrics) = jax.grad(loss_function, has_aux=True)(begin.variables["params"])
    return grads, end, metrics


def _remat_policy(remat: str) -> RematPolicy:
    """Return the policy that config.optimizer.remat names."""
    if remat == "none":
        return None
    if remat == "convolutions":
        # To JAX a choice by platform is a `cond`; here both branches are convolutions.
        saved = {"conv_general_dilated", "dot_general", "cond"}
        return lambda primitive, *_, **__: primitive.name in saved
    raise InputError(f"config.optimizer.remat={remat!r} is not one of none, convolutions")


def _accumulate(
    gradient: Callable[[_StepCarry, Batch, PRNGKeyArray], tuple[Any, _StepCarry, Metrics]],
    begin: _StepCarry,
    batch: Batch,
    rng: PRNGKeyArray,
    accumulation: int,
    period: int,
) -> tuple[Any, _StepCarry, Metrics]:
    """Average gradients and metrics over the slices of the batch, with one slice in memory at a time."""

    def accumulate_slice(
        carry: tuple[_StepCarry, Any], index_and_slice: tuple[jax.Array, Batch]
    ) -> tuple[Any, Metrics]:
        (begin, total), (index, part) = carry, index_and_slice
        grads, end, metrics = gradient(begin, part, jax.random.fold_in(rng, index))
        return (end, jax.tree.map(jnp.add, total, grads)), metrics

    slices = partial(_slices, accumulation=accumulation)
    parts = jax.tree.map(partial(slices, period=period), batch._replace(auxiliary=None))
    parts = parts._replace(auxiliary=jax.tree.map(partial(slices, period=2), batch.auxiliary))
    zeros = jax.tree.map(jnp.zeros_like, begin.variables["params"])
    (end, total), metrics = jax.lax.scan(accumulate_slice, (begin, zeros), (jnp.arange(accumulation), parts))
    mean_grads = jax.tree.map(lambda grad: grad / accumulation, total)
    return mean_grads, end, jax.tree.map(partial(jnp.mean, axis=0), metrics)


def _slices(leaf: jax.Array, accumulation: int, period: int) -> jax.Array:
    """Split [B, ...] by groups of `period` to [accumulation, B / accumulation, ...] without a transfer."""
    batch_size = leaf.shape[0]
    if batch_size % (period * accumulation):
        groups = "pairs" if period == 2 else f"groups of {period}"
        raise InputError(
            f"batch {batch_size} cannot be split into {accumulation} slices of human/pseudo {groups}; "
            f"use a multiple of {period * accumulation} or another accumulation"
        )
    grouped = leaf.reshape(-1, accumulation, period, *leaf.shape[1:])
    return jnp.moveaxis(grouped, 1, 0).reshape(accumulation, -1, *leaf.shape[1:])


def _new_share(decay: float, ramp: bool, num_updates: jax.Array) -> ArrayLike:
    """Return 1 - d, the share of the new weights in the average; 1 - (1 + t) / (10 + t) is 9 / (10 + t)."""
    return jnp.maximum(1.0 - decay, 9.0 / (10.0 + num_updates)) if ramp else 1.0 - decay


def _move_ema(ema: Any, params: Any, new_share: ArrayLike) -> Any:
    return jax.tree.map(lambda average, w: average + new_share * (w - average), ema, params)


def _global_norm(tree: Any) -> jax.Array:
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)))
