import sys
from types import SimpleNamespace

import jax
import pytest

from selftrain_jax.cost import energy
from selftrain_jax.cost.energy import open_energy_counter
from selftrain_jax.cost.meter import Meter
from tests.cost.fakes import devices_of


class NVMLError(Exception):
    """As pynvml's."""


@pytest.fixture
def nvml(monkeypatch):
    """Two GPUs, which NVML numbers the other way round than CUDA, and what they have used in millijoules."""
    millijoules = {"bus-0": 1_000_000, "bus-1": 5_000_000}
    monkeypatch.setattr(energy, "_pci_bus_id", lambda ordinal: f"bus-{1 - ordinal}")
    fake = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByPciBusId=lambda name: name,
        nvmlDeviceGetMigMode=lambda handle: [0, 0],
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: millijoules[handle],
        millijoules=millijoules,
    )
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


def refuse(*_):
    raise NVMLError


def test_joules_of_this_hosts_gpus_are_added_up(nvml):
    gpus = devices_of("H100", 2, "gpu") + devices_of("H100", 2, "gpu", host=1)
    assert open_energy_counter(gpus)() == 6000
    assert open_energy_counter(gpus[:1])() == 5000  # CUDA's device 0


def test_a_session_uses_the_difference_of_two_readings(nvml):
    meter = Meter(devices_of("H100", 2, "gpu"))
    nvml.millijoules["bus-0"] += 2_500
    nvml.millijoules["bus-1"] += 4_000
    meter.read_energy()
    assert meter.cost().energy_joules == 6.5


def test_a_counter_that_began_anew_is_unknown(nvml):
    meter = Meter(devices_of("H100", 2, "gpu"))
    nvml.millijoules.update({"bus-0": 0, "bus-1": 0})
    meter.read_energy()
    assert meter.cost().energy_joules is None


def test_an_old_gpu_a_partitioned_one_and_no_driver_are_unknown(nvml):
    gpus = devices_of("P100", 2, "gpu")
    nvml.nvmlDeviceGetMigMode = refuse
    assert open_energy_counter(gpus)() == 6000  # it cannot be partitioned
    nvml.nvmlDeviceGetTotalEnergyConsumption = refuse
    assert open_energy_counter(gpus)() is None
    nvml.nvmlDeviceGetMigMode = lambda handle: [1, 1]
    assert open_energy_counter(gpus)() is None
    nvml.nvmlInit = refuse
    assert open_energy_counter(gpus)() is None


def test_other_devices_and_a_missing_package_are_unknown(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)  # its import fails
    assert open_energy_counter(devices_of("H100", 1, "gpu"))() is None
    assert open_energy_counter(jax.devices())() is None


def test_without_cuda_the_bus_of_a_device_is_not_found(monkeypatch):
    found = SimpleNamespace(cuInit=lambda flags: 100)  # CUDA_ERROR_NO_DEVICE
    monkeypatch.setattr(energy.ctypes, "CDLL", lambda name: found)
    with pytest.raises(OSError, match="device 0"):
        energy._pci_bus_id(0)
