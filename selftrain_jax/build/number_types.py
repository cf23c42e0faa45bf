"""Whether the devices here compute in the number type that a config asks for; call `with_usable_dtype()`."""

import re
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from selftrain_jax import hosts

FIRST_WITH_BFLOAT16 = 8.0  # NVIDIA compute capability: Ampere


def with_usable_dtype(config: ConfigDict, devices: Sequence[Any]) -> ConfigDict:
    """Return the config, with float32 for bfloat16 where a device is a GPU without it, and say so.

    GPUs before Ampere have no bfloat16 arithmetic and no TF32. Their float16 has too few exponents for these
    losses without scaling them, so that it is not offered.
    """
    old = [device for device in devices if _capability(device) < FIRST_WITH_BFLOAT16]
    if config.model.dtype != "bfloat16" or not old:
        return config
    hosts.log(
        f"config.model.dtype=bfloat16: {old[0].device_kind} (compute capability "
        f"{old[0].compute_capability}) has no bfloat16, which begins with {FIRST_WITH_BFLOAT16}; this run "
        "computes in float32"
    )
    found = config.copy_and_resolve_references()
    found.model.dtype = "float32"
    return found


def _capability(device: Any) -> float:
    """Return an NVIDIA GPU's compute capability; infinity for other devices (AMD's are named, as gfx90a)."""
    stated = str(getattr(device, "compute_capability", ""))
    return float(stated) if re.fullmatch(r"\d+\.\d+", stated) else float("inf")
