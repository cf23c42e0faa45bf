"""A GPU without bfloat16 computes in float32, and the run says so."""

from typing import NamedTuple

import pytest

from configs import quickstart
from selftrain_jax.build.number_types import with_usable_dtype


class Device(NamedTuple):
    """What JAX says of a device."""

    platform: str
    device_kind: str
    compute_capability: str


V100, T4 = Device("gpu", "Tesla V100-SXM2-16GB", "7.0"), Device("gpu", "Tesla T4", "7.5")
A100, H100 = Device("gpu", "NVIDIA A100-SXM4-40GB", "8.0"), Device("gpu", "NVIDIA H100 80GB HBM3", "9.0")
AMD, B200 = Device("gpu", "AMD Instinct MI250X", "gfx90a"), Device("gpu", "NVIDIA B200", "10.0")


def config_in(dtype: str):
    config = quickstart.get_config()
    config.model.dtype = dtype
    return config


@pytest.mark.parametrize("device", [V100, T4])
def test_a_gpu_before_ampere_computes_in_float32_and_is_named(device: Device, capfd) -> None:
    asked = config_in("bfloat16")
    assert with_usable_dtype(asked, [A100, device]).model.dtype == "float32"
    assert asked.model.dtype == "bfloat16"
    said = "".join(capfd.readouterr())
    assert f"{device.device_kind} (compute capability {device.compute_capability}) has no bfloat16" in said


@pytest.mark.parametrize("device", [A100, H100, B200, AMD])
def test_other_devices_compute_in_what_was_asked(device: Device, capfd) -> None:
    assert with_usable_dtype(config_in("bfloat16"), [device]).model.dtype == "bfloat16"
    assert with_usable_dtype(config_in("float32"), [V100]).model.dtype == "float32"
    assert not "".join(capfd.readouterr())
