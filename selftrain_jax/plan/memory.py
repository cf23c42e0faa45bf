"""An estimate of a training step's memory on one device, from shapes alone; call `estimate_memory`.

What is kept for the backward pass is counted in the forward pass, as XLA fuses it: results of convolutions,
matrix products and reductions are in memory, and so is what goes into convolutions and products; element-wise
results in between are not, for they are computed where they are used.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from jax.extend.core import Jaxpr, JaxprEqn, Literal
from jax.sharding import Mesh

from selftrain_jax.models.cost import inner_jaxprs
from selftrain_jax.train.sharding import shard_shapes
from selftrain_jax.train.state import TrainState
from selftrain_jax.types import Batch

PRODUCTS = ("conv_general_dilated", "dot_general")
REDUCTIONS = ("reduce_sum", "reduce_max", "reduce_min", "reduce_window_max", "sort", "gather", "scatter")
# XLA lays out 0.9 to 1.9 times the count below for the paper's detectors (launch/compile_for_tpu/README.md).
COMPILED = 1.25
ESTIMATE_FACTOR = 2.0  # so much more or less it may be
LOOPS = ("scan", "while")  # their body's results are not theirs: they are carried or stacked


@dataclass(frozen=True)
class Memory:
    """Bytes on one device while a step is computed."""

    parameters: int  # with BatchNorm's statistics
    momentum: int
    average: int  # of the weights, where one is kept
    gradients: int
    batch: int
    activations: int  # an estimate; the rest is exact

    @property
    def total(self) -> int:
        """All together."""
        return sum(vars(self).values())


def count_parameters(state: TrainState) -> int:
    """Count the numbers that training changes by gradients, without BatchNorm's statistics."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state.variables["params"]))


def estimate_memory(
    mesh: Mesh,
    loss: Callable[..., Any],
    state: TrainState,
    batch: Batch,
    *,
    accumulation: int = 1,
    is_remat: bool = False,
) -> Memory:
    """Estimate what a device holds in a step, for shapes of the whole state and of the batch of all devices.

    `is_remat` is for config.optimizer.remat=convolutions: only results of convolutions and products are kept.
    """
    whole: Any = state
    sharded = shard_shapes(mesh, whole._replace(rng=()))
    gradients = num_bytes(sharded.variables["params"])
    num_parts = mesh.shape["data"] * mesh.shape["model"] * accumulation
    part = jax.tree.map(lambda leaf: _first(leaf, num_parts), batch)
    activations = count_activations(loss, state.variables, part, state.rng, is_remat=is_remat)
    return Memory(
        parameters=num_bytes(sharded.variables),
        momentum=num_bytes(sharded.opt_state),
        average=num_bytes(sharded.ema),
        gradients=gradients if accumulation == 1 else 2 * gradients,
        batch=num_bytes(batch) // mesh.size,
        activations=activations // mesh.shape["space"],
    )


def _first(leaf: Any, num_parts: int) -> jax.ShapeDtypeStruct:
    """Return the shape of one of so many parts of a batch."""
    return jax.ShapeDtypeStruct((max(leaf.shape[0] // num_parts, 1), *leaf.shape[1:]), leaf.dtype)


def num_bytes(tree: Any) -> int:
    """Add up the bytes of a tree of arrays or shapes: of those with a sharding, of one device's part."""
    return sum(_leaf_bytes(leaf) for leaf in jax.tree.leaves(tree))


def _leaf_bytes(leaf: Any) -> int:
    sharding = getattr(leaf, "sharding", None)
    shape = sharding.shard_shape(leaf.shape) if sharding is not None else leaf.shape
    return math.prod(shape) * leaf.dtype.itemsize


def count_activations(loss: Callable[..., Any], *arguments: Any, is_remat: bool) -> int:
    """Estimate the bytes that live at the peak of the backward pass of `loss(*arguments)`.

    To what is kept come a gradient of the largest activation and one of its input.
    """
    jaxpr = jax.make_jaxpr(loss)(*arguments).jaxpr
    kept: Values = {}
    for name, inputs, outputs in _flatten(jaxpr, dict.fromkeys(jaxpr.invars)):
        if name in PRODUCTS or (name in REDUCTIONS and not is_remat):
            kept |= outputs
        if name in PRODUCTS and not is_remat:
            kept |= inputs
    return round(COMPILED * (sum(kept.values()) + 2 * max(kept.values(), default=0)))


Values = dict[Any, int]
"""Sizes in bytes of results, by an object that stands for each."""


def _flatten(jaxpr: Jaxpr, known: dict[Any, Any]) -> Iterator[tuple[str, Values, Values]]:
    """Yield the name, inputs and outputs of each operation, those of inner functions in their place.

    `known` has the object of each variable. None stands for what is no activation: arguments and constants.
    """
    for equation in jaxpr.eqns:
        name, inner = equation.primitive.name, _body(equation)
        bound: dict[Any, Any] = {}
        if inner is not None:
            given = [_look_up(variable, known) for variable in equation.invars]
            bound = dict(zip(reversed(inner.invars), reversed(given), strict=False))
            yield from _flatten(inner, bound)
        if inner is None or name in LOOPS:
            results = [object() for _ in equation.outvars]
        else:
            results = [_look_up(variable, bound) for variable in inner.outvars]
        known |= dict(zip(equation.outvars, results, strict=True))
        if inner is None:
            yield name, _sizes(equation.invars, known), _sizes(equation.outvars, known)


def _body(equation: JaxprEqn) -> Jaxpr | None:
    """Return the function that an equation calls: a loop's body, the default branch of a choice."""
    params = equation.params
    if equation.primitive.name == "while":
        return params["body_jaxpr"].jaxpr
    if equation.primitive.name == "cond":
        platforms = params.get("branches_platforms") or ()
        return params["branches"][platforms.index(None) if None in platforms else -1].jaxpr
    return next(inner_jaxprs(params), None)


def _look_up(variable: Any, known: Mapping[Any, Any]) -> Any:
    return None if isinstance(variable, Literal) else known.get(variable)


def _sizes(variables: Sequence[Any], known: Mapping[Any, Any]) -> Values:
    """Give the sizes of those variables that are activations."""
    found = {_look_up(variable, known): variable.aval for variable in variables}
    return {
        key: math.prod(aval.shape) * aval.dtype.itemsize for key, aval in found.items() if key is not None
    }


def free_memory(device: jax.Device) -> int | None:
    """Return the bytes that a program could still take on a device, None where that is not known."""
    if device.platform != "cpu":
        return memory_left(device.memory_stats() or {})
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    kib = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return kib[0] * 1024 if kib else None


def memory_left(stats: Mapping[str, int]) -> int | None:
    """Return what `jax.Device.memory_stats` leaves free, None where it does not say."""
    known = "bytes_limit" in stats and "bytes_in_use" in stats
    return stats["bytes_limit"] - stats["bytes_in_use"] if known else None
