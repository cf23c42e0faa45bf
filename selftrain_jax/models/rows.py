"""Rows of feature maps on several devices: `rows_over` says which devices, `place_rows` where it is safe.

Networks know nothing of devices, XLA follows from the images how every map is split. Its partitioner goes
wrong where a device has fewer rows than a kernel reaches over its edge (jax 0.10.2: false gradients from one
row, an abort of the compiler from two), so that coarse maps are kept whole.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

MIN_ROWS = 4  # of a device; a 7×7 kernel reaches 3 over the edge

_mesh: ContextVar[Mesh | None] = ContextVar("mesh", default=None)


@contextmanager
def rows_over(mesh: Mesh) -> Iterator[None]:
    """While a step is traced: `place_rows` places maps on this mesh (axes `data`, `space`, `model`)."""
    before = _mesh.set(mesh)
    try:
        yield
    finally:
        _mesh.reset(before)


def place_rows(x: Float[Array, "B h w C"]) -> Float[Array, "B h w C"]:
    """Split rows over `space` where each device gets `MIN_ROWS` or more, evenly; else keep them whole."""
    mesh = _mesh.get()
    if mesh is None or mesh.shape["space"] == 1:
        return x
    parts = mesh.shape["space"]
    is_split = x.shape[1] % parts == 0 and x.shape[1] // parts >= MIN_ROWS
    examples = ("data", "model")
    spec = PartitionSpec(examples, "space") if is_split else PartitionSpec(examples)
    return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, spec))
