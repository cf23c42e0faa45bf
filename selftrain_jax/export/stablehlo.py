"""A program as StableHLO, which JAX loads without this package; call `write_stablehlo`.

Load it with `jax.export.deserialize(bytearray(open(path, "rb").read())).call(images, covered_px)`.
Reference: docs.jax.dev/en/latest/export. JAX reads programs of its last six months, and writes for its next.
"""

from pathlib import Path

import jax
from jax import export

from selftrain_jax.export.program import Program, Results

FILE = "model.stablehlo"
PLATFORMS = ("cpu", "cuda", "tpu")


def write_stablehlo(program: Program, folder: Path) -> Path:
    """Write one program for CPUs, GPUs and TPUs, weights included."""
    batch = program.batch_size or export.symbolic_shape("batch")[0]
    lowered = export.export(jax.jit(program.run), platforms=PLATFORMS)(*program.input_shapes(batch))
    path = folder / FILE
    path.write_bytes(lowered.serialize())
    return path


def open_stablehlo(path: Path) -> Results:
    """Return the function that a written program is."""
    return export.deserialize(bytearray(path.read_bytes())).call
