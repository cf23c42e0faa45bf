"""The versions that decide numbers, this code's among them, and the devices that a run computes on."""

import importlib.metadata
import pathlib
import platform
import subprocess
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


def code_revision() -> str:
    """Return the commit of this checkout, with "+" after it where files were changed; "" outside of one."""
    package = str(pathlib.Path(__file__).parents[1])
    command = ["git", "-C", package, "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def device_name() -> str:
    """Return what the run computes on, e.g. "2 x cpu (cpu)"."""
    devices = jax.devices()
    return f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})"
