"""Placing a run on its devices: the state on all of them, the batch split over them.

Call `make_mesh()` once, `check_batch_size` before loading data, `replicate` on the state and
`shard_batch` on every batch; `jit_predict` is inference. BatchNorm over a split batch is the paper's
synchronous BatchNorm.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from selftrain_jax.errors import InputError


def make_mesh(num_devices: int | None = None) -> Mesh:
    """Line the devices up along one axis, `data`; all of them unless a number is given.

    Raises:
        InputError: there are fewer devices.
    """
    devices = jax.devices()
    if num_devices is not None and not 1 <= num_devices <= len(devices):
        raise InputError(
            f"{num_devices} devices asked for, {len(devices)} found ({devices[0].platform}); "
            f"use 1 to {len(devices)}"
        )
    return Mesh(np.array(devices[:num_devices]), ("data",))


def check_batch_size(batch_size: int, mesh: Mesh) -> None:
    """Refuse a batch (of all hosts together) that does not split evenly over the devices.

    Raises:
        InputError: it does not; the message names the nearest sizes that do.
    """
    num_devices = mesh.shape["data"]
    below = batch_size // num_devices * num_devices
    if batch_size != below or batch_size == 0:
        choices = [size for size in (below, below + num_devices) if size > 0]
        raise InputError(
            f"batch {batch_size} is not divisible by {num_devices} devices on axis data; "
            f"use {' or '.join(map(str, choices))}"
        )


def replicate(mesh: Mesh, tree: Any) -> Any:
    """Copy a tree to every device; the given arrays stay valid when the copy is given away."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()), may_alias=False)


def shard_batch(mesh: Mesh, batch: Any) -> Any:
    """Split this host's numpy batch over its devices along the first axis."""
    split = NamedSharding(mesh, PartitionSpec("data"))
    return jax.tree.map(lambda leaf: jax.make_array_from_process_local_data(split, leaf), batch)


def jit_predict(mesh: Mesh, predict: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Compile `predict(variables, images)` for replicated variables and this host's part of a batch."""
    everywhere, split = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))
    jitted = jax.jit(predict, in_shardings=(everywhere, split))
    return lambda variables, images: jitted(variables, shard_batch(mesh, images))
