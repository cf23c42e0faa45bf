"""Presets by device: what is chosen, what wins over it, and how the device is found without starting it."""

import pytest

from configs import own_data, own_images


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)


def pretend(
    monkeypatch: pytest.MonkeyPatch, *, files: tuple[str, ...], plugins: tuple[str, ...] = ()
) -> None:
    """Let a machine have these device files and plugins of JAX."""

    class Plugin:
        def __init__(self, name: str) -> None:
            self.name = name

    monkeypatch.setattr(own_images.os.path, "exists", lambda path: path in files)
    monkeypatch.setattr(own_images, "entry_points", lambda group: [Plugin(name) for name in plugins])
    found = object() if "libtpu" in plugins else None
    monkeypatch.setattr(own_images.importlib.util, "find_spec", lambda name: found)


@pytest.mark.parametrize(
    ("files", "plugins", "device"),
    [
        ((), (), "cpu"),
        (("/dev/nvidia0",), (), "cpu"),  # JAX could not use it
        (("/dev/nvidia0",), ("xla_cuda13",), "gpu"),
        ((), ("xla_cuda13",), "cpu"),
        (("/dev/kfd",), ("rocm",), "gpu"),
        (("/dev/accel0",), ("libtpu",), "tpu"),
        ((), ("libtpu",), "cpu"),
    ],
)
def test_device_of_a_machine(
    files: tuple, plugins: tuple, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, files=files, plugins=plugins)
    assert own_images.find_device() == device


@pytest.mark.parametrize(("asked", "device"), [("cpu", "cpu"), ("cuda,cpu", "gpu"), ("tpu", "tpu")])
def test_the_platform_that_jax_is_told_decides(
    asked: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, files=("/dev/nvidia0",), plugins=("xla_cuda13",))
    monkeypatch.setenv("JAX_PLATFORMS", asked)
    assert own_images.find_device() == device


def test_the_device_picks_size_and_steps_and_what_is_given_by_hand_wins() -> None:
    cpu, gpu = (own_data.get_config(f"kind=coco,device={device}") for device in ("cpu", "gpu"))
    assert (cpu.preset.name, gpu.preset.name) == ("cpu", "gpu")
    assert (cpu.model.backbone, cpu.model.pool_padding) == ("efficientnet_lite0", "same")
    assert (gpu.model.backbone, gpu.model.pool_padding) == ("resnet50", "fixed")
    assert (cpu.teacher.init, gpu.teacher.init) == ("auto", "auto")
    assert cpu.image.size_px == own_data.PRESETS["cpu"]["size"] < gpu.image.size_px
    by_hand = own_data.get_config("kind=coco,device=cpu,size=256,steps=10,backbone=resnet18,init=rand")
    assert (by_hand.image.size_px, by_hand.student.steps, by_hand.teacher.steps) == (256, 10, 24)
    assert (by_hand.model.backbone, by_hand.teacher.init) == ("resnet18", "rand")
    rates = [config.optimizer.backbone_rate_factor for config in (cpu, gpu, by_hand)]
    assert rates == [0.1, 0.1, 1.0]  # a random backbone learns like the rest


def test_a_network_given_by_hand_has_its_own_max_pool() -> None:
    for backbone in ("efficientnet_b0", "resnet18"):
        config = own_data.get_config(f"kind=coco,device=gpu,backbone={backbone},init=imagenet")
        assert (config.model.pool_padding, config.teacher.init) == ("same", "imagenet")


def test_speeds_are_noted_with_the_network_that_they_were_measured_for() -> None:
    for arguments in ("kind=coco,device=cpu", "kind=coco,device=cpu,size=96,backbone=resnet18"):
        preset = own_data.get_config(arguments).preset
        assert (preset.backbone, preset.size_px) == ("efficientnet_lite0", 128)
        assert preset.train_images_per_second > 0
    assert own_data.get_config("kind=coco,device=tpu").preset.name == "gpu"
    assert own_data.get_config("kind=coco,device=gpu").preset.train_images_per_second == 0


def test_a_device_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="device='npu' is not one of auto, cpu, gpu, tpu"):
        own_data.get_config("kind=coco,device=npu")
