"""Placing a run on its devices by rule; `make_mesh` says which devices, the rest follows from shapes.

A mesh has the axes `data` (examples), `space` (rows of an image) and `model` (large tensors); the last two
are 1 unless asked for. `place_state` and `shard_batch` put arrays on it, `keep_placed` keeps a step's new
state there, `on_mesh` has a network compute there. Networks know next to nothing of it (`models.rows`): XLA
exchanges the rows at the seams, and BatchNorm over a split batch is the paper's synchronous BatchNorm.

Devices along `model` share the storage of weights, momentum and average, not the work on an example: each
has examples of its own, weights come together where a network uses them and gradients are handed out in
parts (as ZeRO and FSDP do). Inference runs on `local_mesh`, each host for itself.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from selftrain_jax.errors import InputError
from selftrain_jax.models.rows import rows_over

AXES = ("data", "space", "model")
EXAMPLES = ("data", "model")  # a batch is split over both
LARGE = 2**18  # elements from which a tensor is split over `model`: 1 MiB of float32


def make_mesh(*, space: int = 1, model: int = 1, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Arrange the devices (all unless given) as data x space x model, those of a host side by side.

    Raises:
        InputError: space x model does not divide a host's devices: rows of an image or parts of a tensor
            on two hosts would need each host to read half an image.
    """
    devices = sorted(devices or jax.devices(), key=lambda device: (device.process_index, device.id))
    of_a_host = sum(device.process_index == devices[0].process_index for device in devices)
    group = space * model
    if min(space, model) < 1 or of_a_host % group:
        raise InputError(
            f"config.mesh: space {space} x model {model} devices work on one example, but a host has "
            f"{of_a_host} ({devices[0].platform}); use numbers whose product divides {of_a_host}"
        )
    return Mesh(np.array(devices).reshape(-1, space, model), AXES)


def local_mesh(mesh: Mesh) -> Mesh:
    """Give this host's part of a mesh, with the same `space` and `model`."""
    devices = [device for device in mesh.devices.flat if device.process_index == jax.process_index()]
    return make_mesh(space=mesh.shape["space"], model=mesh.shape["model"], devices=devices)


def check_batch_size(batch_size: int, mesh: Mesh) -> None:
    """Refuse a batch (of all hosts together) that does not split evenly over axes `data` and `model`.

    Raises:
        InputError: it does not; the message names the nearest sizes that do.
    """
    num_parts = mesh.shape["data"] * mesh.shape["model"]
    below = batch_size // num_parts * num_parts
    if batch_size != below or batch_size == 0:
        choices = [size for size in (below, below + num_parts) if size > 0]
        raise InputError(
            f"batch {batch_size} is not divisible by {num_parts} devices "
            f"on {'axes data x model' if mesh.shape['model'] > 1 else 'axis data'}; "
            f"use {' or '.join(map(str, choices))}"
        )


def state_sharding(mesh: Mesh, shape: Sequence[int]) -> NamedSharding:
    """Split the largest side of a large tensor over `model` where it divides; every other has copies."""
    parts = mesh.shape["model"]
    side = int(np.argmax(shape)) if shape else 0
    if parts == 1 or math.prod(shape) < LARGE or shape[side] % parts:
        return NamedSharding(mesh, PartitionSpec())
    return NamedSharding(mesh, PartitionSpec(*[None] * side, "model"))


def batch_sharding(mesh: Mesh, batch: Any) -> Any:
    """Split examples over `data` and `model`, and over `space` the rows of what has the size of the images.

    Those are arrays [B, H, W, ...]: images, and masks of their height and width. Rows that `space` does not
    divide stay whole.
    """
    sizes = {leaf.shape[1:3] for leaf in jax.tree.leaves(batch) if leaf.ndim == 4}

    def of(leaf: Any) -> NamedSharding:
        has_rows = leaf.ndim >= 3 and leaf.shape[1:3] in sizes and leaf.shape[1] % mesh.shape["space"] == 0
        return NamedSharding(mesh, PartitionSpec(EXAMPLES, "space") if has_rows else PartitionSpec(EXAMPLES))

    return jax.tree.map(of, batch)


def place_state(mesh: Mesh, tree: Any) -> Any:
    """Copy a tree to the devices by `state_sharding`; it stays valid when the copy is given away.

    Every host has the same tree, or parts of it that make it whole.
    """
    return jax.tree.map(lambda leaf: _place(leaf, state_sharding(mesh, leaf.shape)), tree)


def keep_placed(mesh: Mesh, tree: Any) -> Any:
    """Inside a jitted step: have its new state placed as `place_state` placed the old one."""
    return jax.tree.map(
        lambda leaf: jax.lax.with_sharding_constraint(leaf, state_sharding(mesh, leaf.shape)), tree
    )


def shard_batch(mesh: Mesh, batch: Any) -> Any:
    """Split a numpy batch over the devices; each host gives its examples, and has all rows of them."""
    shardings = batch_sharding(mesh, batch)
    return jax.tree.map(
        lambda leaf, sharding: jax.make_array_from_process_local_data(sharding, leaf), batch, shardings
    )


def on_mesh(mesh: Mesh, function: Callable[..., Any]) -> Callable[..., Any]:
    """Have `function(variables, ...)`, to be jitted, compute on a mesh: whole weights, safely split rows."""

    @functools.wraps(function)  # a compiled step is called by its name
    def placed(variables: Any, *arguments: Any) -> Any:
        with rows_over(mesh):
            return function(_gather(mesh, variables), *arguments)

    return placed


def jit_predict(mesh: Mesh, predict: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Compile `predict(variables, images)` for placed variables and this host's images."""
    jitted = jax.jit(on_mesh(mesh, predict))
    return lambda variables, images: jitted(variables, shard_batch(mesh, images))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _gather(mesh: Mesh, tree: Any) -> Any:
    """Bring split tensors together; their gradients are split as they were."""
    return jax.lax.with_sharding_constraint(tree, NamedSharding(mesh, PartitionSpec()))


def _gather_forward(mesh: Mesh, tree: Any) -> tuple[Any, None]:
    return _gather(mesh, tree), None


def _gather_backward(mesh: Mesh, _: None, gradients: Any) -> tuple[Any]:
    return (keep_placed(mesh, gradients),)


_gather.defvjp(_gather_forward, _gather_backward)


def _place(leaf: Any, sharding: NamedSharding) -> Any:
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        data = _place(jax.random.key_data(leaf), NamedSharding(sharding.mesh, PartitionSpec()))
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    if sharding.is_fully_addressable and getattr(leaf, "is_fully_addressable", True):
        return jax.device_put(jnp.array(leaf), sharding)  # `may_alias=False` shares memory all the same
    whole = _whole(leaf)
    return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])


def _whole(leaf: Any) -> np.ndarray:
    """Put an array together from this host's parts, which hold all of it; a copy of its own."""
    if getattr(leaf, "is_fully_addressable", True):
        return np.array(leaf)
    whole = np.empty(leaf.shape, leaf.dtype)
    for shard in leaf.addressable_shards:
        whole[shard.index] = np.asarray(shard.data)
    return whole
