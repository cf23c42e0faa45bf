"""The versions of packages that decide numbers, and the devices that a run computes on."""

import importlib.metadata
import platform
from contextlib import suppress

import jax

PACKAGES = (
    "jax",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "pycocotools",
    "tensorflow-cpu",
    "tensorflow",
)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide the numbers."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def device_name() -> str:
    """Return what the run computes on, e.g. "2 x cpu (cpu)"."""
    devices = jax.devices()
    return f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})"
