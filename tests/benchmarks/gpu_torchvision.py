"""Torchvision's side of `gpu_all`: RetinaNet ResNet-50-FPN with autocast, channels_last and torch.compile."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tests.benchmarks.gpu_passes import (
    LEARNING_RATE,
    MOMENTUM,
    NUM_CLASSES,
    WEIGHT_DECAY,
    Settings,
    describe,
    make_inputs,
    time_blocks,
)

COMPILED = "backbone and head compiled"
FORMS = ("eager", COMPILED)
SECS = {"step": 70.0, "inference": 30.0, "predict": 20.0}  # with compiling, about


def measure_torchvision(settings: Settings) -> dict[str, Any]:
    """Time torchvision's detector, each pass in its fastest form."""
    import torch

    device = torch.device("cpu" if settings.on_cpu else "cuda")
    torch.backends.cudnn.benchmark = True
    report: dict[str, Any] = {"passes": {}, **describe_torchvision(device, settings)}

    def wait(_: Any) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    def time_form(key: str, form: str) -> list[float]:
        torch.compiler.reset()
        return time_blocks(torchvision_call(key, form, settings, device), wait, settings)

    for key in ("step", "inference", "predict"):
        if settings.has_time(key, SECS[key]):
            form, secs = fastest_form(partial(time_form, key), key, settings)
            row = describe(settings.batch, secs, form=f"autocast bf16, channels_last, {form}")
            report["passes"][key] = row
    return report


def fastest_form(
    time_form: Callable[[str], list[float]], key: str, settings: Settings
) -> tuple[str, list[float]]:
    """Time eager and compiled forms; say so where one does not run.

    Raises:
        RuntimeError: none runs.
    """
    found: dict[str, list[float]] = {}
    for form in FORMS:
        try:
            found[form] = time_form(form)
            rate = settings.batch / float(np.median(found[form]))
            print(f"  {key}, {form}: {rate:.1f} images/s", flush=True)
        except Exception as error:
            print(f"  {key}, {form}: does not run: {str(error).strip().splitlines()[0][:200]}", flush=True)
    if not found:
        raise RuntimeError(f"no form of torchvision's {key} runs")
    return min(found.items(), key=lambda item: float(np.median(item[1])))


def make_torchvision(device: Any, size_px: int) -> Any:
    import torch
    from torchvision.models.detection import retinanet_resnet50_fpn

    model = retinanet_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=NUM_CLASSES,
        min_size=size_px,
        max_size=size_px,
        score_thresh=0.0,
    )
    return model.to(device, memory_format=torch.channels_last)


def describe_torchvision(device: Any, settings: Settings) -> dict[str, Any]:
    """Count parameters and the multiply-adds of one image."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    model = make_torchvision(device, settings.size_px).eval()
    image = torch.zeros((1, 3, settings.size_px, settings.size_px), device=device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.head(list(model.backbone(image).values()))
    return {
        "device": "cpu" if settings.on_cpu else torch.cuda.get_device_name(device),
        "multiply_adds": counter.get_total_flops() // 2,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def torchvision_call(key: str, form: str, settings: Settings, device: Any) -> Callable[[], Any]:
    """Make the function of no arguments that is timed."""
    import torch

    model = make_torchvision(device, settings.size_px).train(key == "step")
    compiler = {"dynamic": False, "backend": "inductor" if device.type == "cuda" else "aot_eager"}
    if form == COMPILED:
        model.backbone.compile(**compiler)
        model.head.compile(**compiler)
    images, boxes, classes = (torch.from_numpy(array).to(device) for array in make_inputs(settings))
    images = images.permute(0, 3, 1, 2).div(255).contiguous(memory_format=torch.channels_last)
    targets = [
        {"boxes": own_boxes[:, [1, 0, 3, 2]], "labels": own_classes}
        for own_boxes, own_classes in zip(boxes, classes, strict=True)
    ]
    optimizer = torch.optim.SGD(
        model.parameters(), LEARNING_RATE, MOMENTUM, weight_decay=WEIGHT_DECAY, fused=True
    )
    autocast = partial(torch.autocast, device.type, torch.bfloat16)

    def step() -> Any:
        optimizer.zero_grad(set_to_none=True)
        with autocast():
            loss = sum(model(list(images), targets).values())
        loss.backward()
        optimizer.step()
        return loss

    @torch.inference_mode()
    def inference() -> Any:
        with autocast():
            return model.head(list(model.backbone(images).values()))

    @torch.inference_mode()
    def predict() -> Any:
        with autocast():
            return model(list(images))

    return {"step": step, "inference": inference, "predict": predict}[key]
