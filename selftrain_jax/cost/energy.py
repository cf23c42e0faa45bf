"""Energy that devices have used, where they count it: NVIDIA's through NVML; `open_energy_counter`.

The package nvidia-ml-py (module `pynvml`) is optional: without it energy is unknown, and so it is on other
devices.
"""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import jax

ReadJoules = Callable[[], float | None]
"""Reads a counter that only rises; None where it is unknown."""


def open_energy_counter(devices: Sequence[jax.Device]) -> ReadJoules:
    """Return what reads the joules that this host's devices have used, since their driver was loaded.

    A GPU counts whatever runs on it, other processes too. One that is partitioned (MIG) counts for all
    parts together, so it is unknown what this part used.
    """
    local = [device for device in devices if device.process_index == jax.process_index()]
    if not local or any(device.platform != "gpu" for device in local):
        return _read_nothing
    try:
        import pynvml
    except ImportError:
        return _read_nothing
    try:
        pynvml.nvmlInit()
        names = [_pci_bus_id(device.local_hardware_id) for device in local]
        handles = [pynvml.nvmlDeviceGetHandleByPciBusId(name) for name in names]
    except (pynvml.NVMLError, OSError):  # no driver of NVIDIA's
        return _read_nothing
    if any(_is_partitioned(pynvml, handle) for handle in handles):
        return _read_nothing
    return lambda: _read_joules(pynvml, handles)


def _read_nothing() -> None:
    return None


def _read_joules(pynvml: Any, handles: Sequence[Any]) -> float | None:
    """Add up the counters; None of a GPU older than Volta, which has none, or lost."""
    try:
        return sum(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) for handle in handles) / 1000
    except pynvml.NVMLError:
        return None


def _is_partitioned(pynvml: Any, handle: Any) -> bool:
    try:
        return bool(pynvml.nvmlDeviceGetMigMode(handle)[0])
    except pynvml.NVMLError:  # it cannot be
        return False


def _pci_bus_id(ordinal: int) -> str:
    """Ask CUDA where its device is: its order and CUDA_VISIBLE_DEVICES are not NVML's.

    Raises:
        OSError: there is no CUDA, or no such device.
    """
    cuda = ctypes.CDLL("libcuda.so.1")
    device, name = ctypes.c_int(), ctypes.create_string_buffer(32)
    if (
        cuda.cuInit(0)
        or cuda.cuDeviceGet(ctypes.byref(device), ordinal)
        or cuda.cuDeviceGetPCIBusId(name, len(name), device)
    ):
        raise OSError(f"CUDA does not know the PCI bus of device {ordinal}")
    return name.value.decode()
