"""What own_data.py and own_masks.py share: the recipe for few labels, presets by the device."""

import importlib.util
import os
from collections.abc import Mapping
from importlib.metadata import entry_points

from ml_collections import ConfigDict

from configs import common


def begin(arguments: str | None, presets: Mapping[str, Mapping[str, object]], *, name: str) -> ConfigDict:
    """Return what configs/own_data.py and configs/own_masks.py have in common.

    `arguments` are kind, device, size (of the input), steps, aug, backbone, init, student_init and seed.
    `steps` are the student's; the teacher has 2.4 times as many, to be finished before it labels.
    """
    chosen = common.parse_arguments(
        arguments,
        kind="auto",
        device="auto",
        size=0,
        steps=0,
        aug="s4",
        backbone="",
        init="auto",
        student_init="teacher",
        seed=0,
    )
    config = common.get_config()
    config.name, config.seed = name, chosen["seed"]
    chosen = choose_preset(config, presets, chosen)
    config.data.kind, config.unlabeled.kind = chosen["kind"], "folder"
    config.image.size_px = chosen["size"]
    config.augment.policy = chosen["aug"]
    config.model.update(backbone=chosen["backbone"], fpn_channels=chosen["channels"], dtype=chosen["dtype"])
    config.model.update(head_channels=chosen["channels"], head_convs=chosen["head_convs"])
    if chosen["backbone"] == config.preset.backbone:
        config.model.pool_padding = chosen.get("pool_padding", "same")
    # Short runs: statistics that keep up.
    momentum = common.short_run_momentum(chosen["backbone"])
    config.model.update(bn_momentum=0.9, backbone_bn_momentum=momentum)
    common.set_init(config, chosen)
    config.optimizer.update(warmup_steps=50, clip_norm=10.0)
    # A backbone that knows photographs keeps what it knows; a random one has to learn, also where init=auto
    # comes to that.
    config.optimizer.backbone_rate_factor = 0.1 if chosen["init"] != "rand" else 1.0
    steps = chosen["steps"]
    config.teacher.steps, config.student.steps = steps * 12 // 5, steps
    config.eval.every_steps = max(steps // 4, 1)
    config.checkpoint.every_steps = max(steps // 4, 1)
    config.pseudo.images_per_shard = 256
    return config


def find_device() -> str:
    """Return what JAX will compute on, cpu, gpu or tpu, without starting it.

    JAX_PLATFORMS decides where it is set; else an installed plugin for GPUs beside a GPU's device file, or
    libtpu beside a TPU's.
    """
    asked = os.environ.get("JAX_PLATFORMS", "").split(",")[0]
    if asked:
        return {"cuda": "gpu", "rocm": "gpu"}.get(asked, asked)
    has_plugin = any(
        "cuda" in plugin.name or "rocm" in plugin.name for plugin in entry_points(group="jax_plugins")
    )
    if has_plugin and any(os.path.exists(path) for path in ("/dev/nvidia0", "/dev/kfd")):
        return "gpu"
    has_libtpu = importlib.util.find_spec("libtpu") is not None
    return "tpu" if has_libtpu and any(map(os.path.exists, ("/dev/accel0", "/dev/vfio/0"))) else "cpu"


def choose_preset(config: ConfigDict, presets: Mapping[str, Mapping[str, object]], chosen: dict) -> dict:
    """Return `chosen` with the values of the device's preset where the arguments leave them open ("" or 0).

    `device` is auto, cpu, gpu or tpu, which has the preset of a GPU. The config notes which it was, and the
    speeds that were measured for its network and size.

    Raises:
        ValueError: there is no such device.
    """
    common.check_choice("device", chosen["device"], ["auto", *presets, "tpu"])
    device = find_device() if chosen["device"] == "auto" else chosen["device"]
    name = "cpu" if device == "cpu" else "gpu"
    preset = presets[name]
    config.preset.update(name=name, backbone=preset["backbone"], size_px=preset["size"])
    config.preset.update(train_images_per_second=preset["train"], label_images_per_second=preset["label"])
    given = {axis: value for axis, value in chosen.items() if value not in ("", 0) or axis not in preset}
    return {**preset, **given}
