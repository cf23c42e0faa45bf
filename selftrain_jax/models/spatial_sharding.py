"""Feature maps with rows split over devices: `split_rows_over` names the mesh, `shard_rows` splits a map.

Networks do not know about devices: from the sharding of the images XLA works out that of every map. Its
partitioner fails where a device has fewer rows than a kernel reaches beyond its edge (jax 0.10.2: wrong
gradients with one row, a crash of the compiler with two), so coarse maps are not split.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

EXAMPLES = ("data", "model")  # the axes that a batch is split over
MIN_ROWS = 4  # of a device; a 7×7 kernel reaches 3 rows beyond the edge

_mesh: ContextVar[Mesh | None] = ContextVar("mesh", default=None)


@contextmanager
def split_rows_over(mesh: Mesh) -> Iterator[None]:
    """While a step is traced inside, `shard_rows` uses this mesh (axes `data`, `space`, `model`)."""
    token = _mesh.set(mesh)
    try:
        yield
    finally:
        _mesh.reset(token)


def active_mesh() -> Mesh | None:
    """Return the mesh of `split_rows_over`; None outside of it."""
    return _mesh.get()


def rows_are_split() -> bool:
    """Say whether the mesh has several devices for the rows of an image."""
    mesh = active_mesh()
    return mesh is not None and mesh.shape["space"] > 1


def shard_rows(x: Float[Array, "B h w C"]) -> Float[Array, "B h w C"]:
    """Split the rows evenly over `space` if that gives each device at least `MIN_ROWS`; else copy them."""
    mesh = active_mesh()
    if mesh is None or not rows_are_split():
        return x
    parts = mesh.shape["space"]
    is_split = x.shape[1] % parts == 0 and x.shape[1] // parts >= MIN_ROWS
    spec = PartitionSpec(EXAMPLES, "space") if is_split else PartitionSpec(EXAMPLES)
    return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, spec))
