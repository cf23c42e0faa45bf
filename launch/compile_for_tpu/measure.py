"""Compile an abstract step for a slice and read what it needs; call `measure`."""

import time
from typing import Any, NamedTuple

from launch.compile_for_tpu.abstract import AbstractStep
from launch.compile_for_tpu.collectives import count_collectives
from launch.compile_for_tpu.slices import Slice

FORWARD_AND_BACKWARD = 3  # multiply-adds of a training step / forward pass, without rematerialisation
GIB = 2**30


class Measured(NamedTuple):
    """What one device needs for a step."""

    compile_secs: float
    arguments_gib: float
    outputs_gib: float  # without donated arguments
    temporaries_gib: float
    program_gib: float
    tflops: float  # counted by the compiler
    analytic_tflops: float  # 2 x multiply-adds of the network, forward and backward
    hbm_gb: float  # between memory and cores, counted by the compiler
    collective_mb: dict[str, float]
    images: float  # per device

    @property
    def peak_gib(self) -> float:
        """The memory of a device that is used at once."""
        return self.arguments_gib + self.outputs_gib + self.temporaries_gib + self.program_gib


def measure(step: AbstractStep, is_training: bool) -> Measured:
    """Compile for the devices of the step's mesh.

    Raises:
        jax.errors.JaxRuntimeError: the compiler fails, for example because the step needs too much memory.
    """
    begin = time.monotonic()
    compiled = step.function.lower(*step.arguments).compile()
    memory, cost = compiled.memory_analysis(), _cost_of(compiled)
    num_devices = step.mesh.size
    passes = FORWARD_AND_BACKWARD if is_training else 1
    return Measured(
        compile_secs=time.monotonic() - begin,
        arguments_gib=memory.argument_size_in_bytes / GIB,
        outputs_gib=(memory.output_size_in_bytes - memory.alias_size_in_bytes) / GIB,
        temporaries_gib=memory.temp_size_in_bytes / GIB,
        program_gib=memory.generated_code_size_in_bytes / GIB,
        tflops=cost.get("flops", 0.0) / 1e12,
        analytic_tflops=2 * passes * step.multiply_adds / num_devices / 1e12,
        hbm_gb=cost.get("bytes accessed", 0.0) / 1e9,
        collective_mb={kind: size / 1e6 for kind, size in count_collectives(compiled.as_text()).items()},
        images=step.batch_size / num_devices,
    )


def estimate_secs(measured: Measured, slice_: Slice) -> dict[str, float]:
    """Return a lower bound of a step's time for each of a chip's speeds."""
    chip = slice_.chip
    return {
        "computing": measured.tflops / chip.bfloat16_tflops,
        "memory": measured.hbm_gb / chip.hbm_gb_per_sec,
        "network": sum(measured.collective_mb.values()) / 1e3 / chip.interconnect_gb_per_sec,
    }


def _cost_of(compiled: Any) -> dict[str, float]:
    cost = compiled.cost_analysis()
    return dict(cost[0] if isinstance(cost, list) else cost)
