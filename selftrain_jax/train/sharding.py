"""The devices of a run and what each holds: `make_mesh` arranges them, shardings follow from shapes by rule.

A mesh has the axes `data` (examples), `space` (rows of an image) and `model` (large tensors); the last two
have size 1 by default. `shard_state` and `shard_batch` put arrays on the mesh, `constrain_state` keeps a
step's new state sharded like the old one, `with_mesh` makes a network compute on it. Networks have no code
for this but `models.spatial_sharding`: XLA exchanges rows at the seams, and BatchNorm over a split batch is
the paper's synchronous BatchNorm.

Devices along `model` share the storage of weights, momentum and average, not the work on one example: each
has its own examples; weights are gathered where a network uses them, and gradients are scattered (as in ZeRO
and FSDP). Inference runs on `local_mesh`, on each host separately.
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
from selftrain_jax.models.spatial_sharding import EXAMPLES, split_rows_over

AXES = ("data", "space", "model")
LARGE = 2**18  # elements from which a tensor is split over `model`: 1 MiB of float32


def make_mesh(*, space: int = 1, model: int = 1, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Arrange the devices (default: all) as data x space x model, those of a host side by side.

    Raises:
        InputError: space x model does not divide the number of a host's devices. Were an image or a tensor
            split over two hosts, each would have to read half an image.
    """
    devices = sorted(devices or jax.devices(), key=lambda device: (device.process_index, device.id))
    devices_per_host = sum(device.process_index == devices[0].process_index for device in devices)
    group = space * model
    if min(space, model) < 1 or devices_per_host % group:
        raise InputError(
            f"config.mesh: space {space} x model {model} devices work on one example, but a host has "
            f"{devices_per_host} ({devices[0].platform}); use numbers whose product divides "
            f"{devices_per_host}"
        )
    return Mesh(np.array(devices).reshape(-1, space, model), AXES)


def local_mesh(mesh: Mesh) -> Mesh:
    """Return this host's part of a mesh, with the same `space` and `model`."""
    devices = [device for device in mesh.devices.flat if device.process_index == jax.process_index()]
    return make_mesh(space=mesh.shape["space"], model=mesh.shape["model"], devices=devices)


def check_batch_size(batch_size: int, mesh: Mesh) -> None:
    """Refuse a batch size (of all hosts together) that `data` x `model` does not divide.

    Raises:
        InputError: naming the nearest sizes that fit.
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
    """Split the largest side of a large tensor over `model` if it divides evenly; copy everything else."""
    parts = mesh.shape["model"]
    side = int(np.argmax(shape)) if shape else 0
    if parts == 1 or math.prod(shape) < LARGE or shape[side] % parts:
        return NamedSharding(mesh, PartitionSpec())
    return NamedSharding(mesh, PartitionSpec(*[None] * side, "model"))


def batch_sharding(mesh: Mesh, batch: Any) -> Any:
    """Split examples over `data` and `model`, and the rows of images and masks over `space`.

    Arrays [B, H, W, ...] of the images' height and width have such rows. If `space` does not divide their
    number, they are not split.
    """
    sizes = {leaf.shape[1:3] for leaf in jax.tree.leaves(batch) if leaf.ndim == 4}

    def choose(leaf: Any) -> NamedSharding:
        has_rows = leaf.ndim >= 3 and leaf.shape[1:3] in sizes and leaf.shape[1] % mesh.shape["space"] == 0
        return NamedSharding(mesh, PartitionSpec(EXAMPLES, "space") if has_rows else PartitionSpec(EXAMPLES))

    return jax.tree.map(choose, batch)


def shard_state(mesh: Mesh, tree: Any) -> Any:
    """Copy a tree to the devices by `state_sharding`; the original survives the donation of the copy.

    Every host has the same tree, or shards that together are the whole tree.
    """
    return jax.tree.map(lambda leaf: _shard(leaf, state_sharding(mesh, leaf.shape)), tree)


def shard_shapes(mesh: Mesh, tree: Any) -> Any:
    """Describe a tree, which may itself be of shapes, as `shard_state` would shard it; allocates nothing."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=state_sharding(mesh, leaf.shape)),
        tree,
    )


def constrain_state(mesh: Mesh, tree: Any) -> Any:
    """Inside a jitted step, shard the new state as `shard_state` sharded the old one."""
    return jax.tree.map(
        lambda leaf: jax.lax.with_sharding_constraint(leaf, state_sharding(mesh, leaf.shape)), tree
    )


def shard_batch(mesh: Mesh, batch: Any) -> Any:
    """Split a numpy batch over the devices; each host passes its own examples, with all their rows."""
    shardings = batch_sharding(mesh, batch)
    return jax.tree.map(
        lambda leaf, sharding: jax.make_array_from_process_local_data(sharding, leaf), batch, shardings
    )


def with_mesh(mesh: Mesh, function: Callable[..., Any]) -> Callable[..., Any]:
    """Make `function(variables, ...)`, to be jitted, gather the weights and split rows over the mesh."""

    @functools.wraps(function)  # the name of the compiled step
    def function_on_mesh(variables: Any, *arguments: Any) -> Any:
        with split_rows_over(mesh):
            return function(all_gather_params(mesh, variables), *arguments)

    return function_on_mesh


def jit_predict(mesh: Mesh, predict: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Compile `predict(variables, images)` for sharded variables and this host's images."""
    jitted = jax.jit(with_mesh(mesh, predict))
    return lambda variables, images: jitted(variables, shard_batch(mesh, images))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def all_gather_params(mesh: Mesh, tree: Any) -> Any:
    """Gather split tensors; the gradients are split like the tensors were."""
    return jax.lax.with_sharding_constraint(tree, NamedSharding(mesh, PartitionSpec()))


def _gather_params_forward(mesh: Mesh, tree: Any) -> tuple[Any, None]:
    return all_gather_params(mesh, tree), None


def _gather_params_backward(mesh: Mesh, _: None, gradients: Any) -> tuple[Any]:
    return (constrain_state(mesh, gradients),)


all_gather_params.defvjp(_gather_params_forward, _gather_params_backward)


def _shard(leaf: Any, sharding: NamedSharding) -> Any:
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        data = _shard(jax.random.key_data(leaf), NamedSharding(sharding.mesh, PartitionSpec()))
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    is_whole = getattr(leaf, "is_fully_addressable", True)  # on this host
    if is_whole and sharding.is_fully_addressable:
        if sharding.num_devices == 1:  # no program for each shape, as `jnp.array` needs
            return jax.device_put(leaf, sharding, may_alias=False)
        return jax.device_put(jnp.array(leaf), sharding)  # here `may_alias=False` would still share memory
    if is_whole:
        whole = np.array(leaf)
    else:
        whole = np.empty(leaf.shape, leaf.dtype)
        for shard in leaf.addressable_shards:
            whole[shard.index] = np.asarray(shard.data)
    return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])
