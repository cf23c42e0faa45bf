"""All that changes during training, in one value."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PRNGKeyArray

from selftrain_jax.selftrain.loss_norm import LossNormalizer, LossNormState
from selftrain_jax.types import Task, Variables


class TrainState(NamedTuple):
    """Everything that a resumed run needs. `rng` is constant: each step folds its own number in."""

    step: Int[Array, ""]  # updates done
    variables: Variables
    opt_state: optax.OptState
    loss_norm: LossNormState
    rng: PRNGKeyArray
    ema: Any  # moving average of the params alone, or () if none is kept


@partial(jax.jit, static_argnames=("task", "tx", "normalizer", "with_ema"))
def create_state(
    task: Task,
    tx: optax.GradientTransformation,
    normalizer: LossNormalizer,
    rng: PRNGKeyArray,
    with_ema: bool = False,
) -> TrainState:
    """Initialise the network and the optimizer at step 0, as one program: small ones add up at a start."""
    init_rng, train_rng = jax.random.split(rng)
    variables = task.init(init_rng)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        variables=variables,
        opt_state=tx.init(variables["params"]),
        loss_norm=normalizer.init(),
        rng=train_rng,
        ema=variables["params"] if with_ema else (),
    )


def with_variables(state: TrainState, variables: Variables) -> TrainState:
    """Start from given weights (the teacher's, or imported ones), as does the moving average if one is kept.

    The weights are copied, because the train step donates the memory of its state.
    """
    variables = _copy(variables)
    return state._replace(variables=variables, ema=_copy(variables["params"]) if has_ema(state) else ())


def eval_variables(state: TrainState) -> Variables:
    """Return the variables to evaluate, with the averaged params if an average is kept.

    The rest, BatchNorm's running means and variances, are those of the last update in either case: averages
    of what the weights of the last 1 / (1 - bn_momentum) updates or so computed, whatever the params' decay.

    Differs: the official EfficientNet code also averages these statistics with the decay of the params.
    """
    return {**state.variables, "params": state.ema} if has_ema(state) else state.variables


def has_ema(state: TrainState) -> bool:
    """Tell whether the state keeps a moving average of its params."""
    return state.ema != ()


def to_items(state: TrainState) -> dict[str, Any]:
    """Split a state, or its shapes, into the parts of a checkpoint; keys become plain numbers."""
    trainer = {"step": state.step, "opt_state": state.opt_state, "loss_norm": state.loss_norm}
    items = {"variables": state.variables, "trainer": {**trainer, "rng": _key_data(state.rng)}}
    return {**items, "ema": state.ema} if has_ema(state) else items


def from_items(items: dict[str, Any], template: TrainState) -> TrainState:
    """Join the parts of a checkpoint; the key is of the template's kind."""
    trainer = dict(items["trainer"])
    impl = jax.random.key_impl(jnp.empty((), template.rng.dtype))
    rng = jax.random.wrap_key_data(trainer.pop("rng"), impl=impl)
    return TrainState(**trainer, variables=items["variables"], rng=rng, ema=items.get("ema", ()))


def _key_data(rng: Any) -> Any:
    if not isinstance(rng, jax.ShapeDtypeStruct):
        return jax.random.key_data(rng)
    data = jax.eval_shape(jax.random.key_data, rng)
    return jax.ShapeDtypeStruct(data.shape, data.dtype, sharding=rng.sharding)


@jax.jit
def _copy(tree: Any) -> Any:
    return jax.tree.map(jnp.copy, tree)
