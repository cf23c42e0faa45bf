"""What of a network is exported: from images to named results, with its weights; call `make_program`."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from selftrain_jax.types import FittedImages, Variables

Outputs = Mapping[str, str]  # each result's name, and what it is
Results = Callable[[Any, Any], Mapping[str, Any]]  # (images, covered_px) -> results by name


class Selection(NamedTuple):
    """Greedy NMS within each class, as other runtimes have it as an operator of their own."""

    iou_threshold: float
    score_threshold: float
    max_detections: int


class Network(NamedTuple):
    """A task's network as it can be exported."""

    compute: Callable[[Variables, FittedImages], Mapping[str, jax.Array]]
    outputs: Outputs
    # For a runtime's own NMS on `boxes` and `scores`; None where there is none, or no greedy one.
    selection: Selection | None = None


class Program(NamedTuple):
    """A network with its weights, for inputs of one size."""

    run: Results
    image_size_px: int
    batch_size: int | None  # None: any
    outputs: Outputs
    selection: Selection | None

    def input_shapes(self, batch: Any) -> tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]:
        """Return the shapes of `images` and `covered_px`, for a batch as a number or a symbol."""
        side = self.image_size_px
        return (
            jax.ShapeDtypeStruct((batch, side, side, 3), jnp.uint8),
            jax.ShapeDtypeStruct((batch, 2), jnp.int32),
        )


def make_program(
    network: Network, variables: Variables, image_size_px: int, batch_size: int | None
) -> Program:
    """Close a network over its weights. `run` takes uint8 images [B, S, S, 3] in RGB and what is covered."""
    weights = jax.tree.map(jnp.asarray, variables)

    def run(images: Any, covered_px: Any) -> Mapping[str, jax.Array]:
        found = network.compute(weights, FittedImages(images, covered_px))
        return {name: value.astype(_plain(value.dtype)) for name, value in found.items()}

    return Program(run, image_size_px, batch_size, network.outputs, network.selection)


def _plain(dtype: Any) -> Any:
    """Return float32 for bfloat16, which few runtimes give out."""
    return jnp.float32 if dtype == jnp.bfloat16 else dtype


def first_line(error: Exception) -> str:
    """Return what an exporter's error says, in brief."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
