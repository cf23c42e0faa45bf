"""Both sides of `gpu_against_torchvision`: `measure_ours` or `measure_torchvision`; one a process."""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

OURS = {"ours resnet50-fpn": ("resnet50", 4.0, "relu"), "ours spinenet49": ("spinenet49", 3.0, "swish")}
TORCHVISION = "torchvision resnet50-fpn"
CONTENDERS = [*list(OURS)[:1], TORCHVISION, *list(OURS)[1:]]
PASSES = ("step", "inference", "predict")
NUM_CLASSES, NUM_BOXES, BOX_SLOTS = 91, 8, 100
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 1e-3, 0.9, 1e-4


@dataclass(frozen=True)
class Settings:
    """How large and how long."""

    size_px: int
    batches: tuple[int, ...]
    calls: int  # in a block
    blocks: int
    on_cpu: bool


def make_inputs(batch: int, size_px: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random images (NHWC), yxyx boxes and classes from 1."""
    random = np.random.default_rng(0)
    images = random.normal(size=(batch, size_px, size_px, 3)).astype(np.float32)
    corners = random.uniform(0, 0.5 * size_px, (batch, NUM_BOXES, 2))
    sizes = random.uniform(0.1 * size_px, 0.5 * size_px, (batch, NUM_BOXES, 2))
    boxes = np.concatenate([corners, corners + sizes], axis=2).astype(np.float32)
    return images, boxes, random.integers(1, NUM_CLASSES, (batch, NUM_BOXES))


def time_blocks(call: Callable[[], Any], wait: Callable[[Any], Any], settings: Settings) -> list[float]:
    """Return each block's seconds a call, after a warm-up of three calls."""
    for _ in range(3):
        wait(call())
    secs = []
    for _ in range(settings.blocks):
        start = time.perf_counter()
        for _ in range(settings.calls):
            result = call()
        wait(result)
        secs.append((time.perf_counter() - start) / settings.calls)
    return secs


def search(
    measure: Callable[[int], list[float]], batches: Iterable[int], is_full: Callable[[Exception], bool]
) -> list[dict[str, Any]]:
    """Measure batch after batch until the memory is full; that one is noted without times."""
    found: list[dict[str, Any]] = []
    for batch in batches:
        try:
            secs = measure(batch)
        except Exception as error:
            if not is_full(error):
                raise
            return [*found, {"batch": batch, "out_of_memory": True}]
        found.append({"batch": batch, "secs": secs, "images_per_second": batch / float(np.median(secs))})
        print(f"  batch {batch}: {found[-1]['images_per_second']:.1f} images/s", flush=True)
    return found


def best_of(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the batch of the most images a second; nothing where none fitted."""
    measured = [row for row in found if "secs" in row]
    return max(measured, key=lambda row: row["images_per_second"], default={})


def best_batch(found: list[dict[str, Any]]) -> tuple[int, ...]:
    """Return the size of the best batch alone; nothing where none fitted."""
    best = best_of(found)
    return (best["batch"],) if best else ()


def measure_ours(name: str, settings: Settings) -> dict[str, Any]:
    """Time our detector's passes. Inference comes first, since a step gives its state away."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.92")
    import jax

    from selftrain_jax.models.cost import count_multiply_adds
    from selftrain_jax.selftrain.loss_norm import ema_loss_normalizer
    from selftrain_jax.train.optimizer import momentum_sgd
    from selftrain_jax.train.sharding import make_mesh, shard_state
    from selftrain_jax.train.state import create_state
    from selftrain_jax.train.step import jit_train_step, make_train_step

    model, task = our_detector(name, settings.size_px)
    tx, normalizer = momentum_sgd(weight_decay=WEIGHT_DECAY, clip_norm=10.0), ema_loss_normalizer(1.0)
    mesh = make_mesh(devices=jax.devices()[:1])
    state = shard_state(mesh, create_state(task, tx, normalizer, jax.random.key(0)))
    forward, predict = jax.jit(partial(model.apply, train=False)), jax.jit(task.predict)
    step = jit_train_step(make_train_step(task, tx, normalizer), mesh)
    image = jax.ShapeDtypeStruct((1, settings.size_px, settings.size_px, 3), "float32")
    multiply_adds = count_multiply_adds(forward, state.variables, image)
    num_parameters = sum(leaf.size for leaf in jax.tree.leaves(state.variables["params"]))

    def time_images(run: Callable[..., Any], batch: int) -> list[float]:
        images = our_batch(batch, settings.size_px).images
        return time_blocks(lambda: run(state.variables, images), jax.block_until_ready, settings)

    def time_step(batch: int) -> list[float]:
        inputs = our_batch(batch, settings.size_px)

        def call() -> Any:
            nonlocal state
            state, metrics = step(state, inputs, LEARNING_RATE)
            return metrics

        secs = time_blocks(call, jax.block_until_ready, settings)
        assert np.isfinite(float(call()["train/loss"])), "the loss is not finite"
        return secs

    def is_full(error: Exception) -> bool:
        return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)

    inference = search(partial(time_images, forward), settings.batches, is_full)
    predicting = search(partial(time_images, predict), best_batch(inference), is_full)
    return {
        "device": jax.devices()[0].device_kind,
        "multiply_adds": multiply_adds,
        "parameters": num_parameters,
        "passes": {
            "inference": inference,
            "predict": predicting,
            "step": search(time_step, settings.batches, is_full),
        },
        "forms": dict.fromkeys(PASSES, "jit, bf16"),
    }


def our_detector(name: str, size_px: int) -> tuple[Any, Any]:
    """Make the model and its task, with the batch normalisation of the project's COCO configs."""
    from selftrain_jax.detection.postprocess import Postprocess
    from selftrain_jax.detection.task import make_detection_task
    from selftrain_jax.models.retinanet import make_retinanet

    backbone, anchor_size, activation = OURS[name]
    model = make_retinanet(
        backbone=backbone, num_classes=NUM_CLASSES, activation=activation, dtype="bfloat16"
    )
    task = make_detection_task(
        model=model,
        image_size_px=size_px,
        anchor_size=anchor_size,
        postprocess=Postprocess(score_threshold=0.0),
    )
    return model, task


def our_batch(batch: int, size_px: int) -> Any:
    """A batch on the device, its boxes padded as in training."""
    import jax

    from selftrain_jax.types import Batch, BoxTargets

    images, boxes, classes = make_inputs(batch, size_px)
    padded_boxes = np.zeros((batch, BOX_SLOTS, 4), np.float32)
    padded_classes = np.zeros((batch, BOX_SLOTS), np.int32)
    padded_boxes[:, :NUM_BOXES], padded_classes[:, :NUM_BOXES] = boxes, classes
    valid = np.broadcast_to(np.arange(BOX_SLOTS) < NUM_BOXES, (batch, BOX_SLOTS))
    targets = map(jax.numpy.asarray, (padded_boxes, padded_classes, valid, np.zeros_like(valid)))
    return Batch(jax.numpy.asarray(images), BoxTargets(*targets), jax.numpy.zeros(batch, bool))


def measure_torchvision(name: str, settings: Settings) -> dict[str, Any]:
    """Time torchvision's detector; the first batch also decides between its forms."""
    import torch

    device = torch.device("cpu" if settings.on_cpu else "cuda")
    torch.backends.cudnn.benchmark = True
    report: dict[str, Any] = {"passes": {}, "forms": {}, **describe_torchvision(device, settings)}

    def wait(_: Any) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    def time_form(key: str, form: str, batch: int) -> list[float]:
        torch.compiler.reset()
        call = torchvision_call(key, form, batch, settings.size_px, device)
        return time_blocks(call, wait, settings)

    for key in ("inference", "predict", "step"):
        batches = settings.batches
        if key == "predict":
            batches = best_batch(report["passes"]["inference"])
        form = fastest_form(partial(time_form, key), key, batches[0]) if batches else ""
        report["forms"][key] = f"autocast bf16, channels_last, {form}"
        if not form:
            report["passes"][key] = []
            continue
        report["passes"][key] = search(
            partial(time_form, key, form), batches, lambda error: isinstance(error, torch.OutOfMemoryError)
        )
    return report


def fastest_form(time_form: Callable[[str, int], list[float]], key: str, batch: int) -> str:
    """Time eager and compiled forms; say so where one does not run, return "" where none does."""
    secs: dict[str, float] = {}
    for form in ("eager", "backbone and head compiled", "all compiled"):
        if key == "inference" and form == "all compiled":
            continue  # backbone and head are all there is
        try:
            secs[form] = float(np.median(time_form(form, batch)))
            print(f"  {key}, {form}: {batch / secs[form]:.1f} images/s", flush=True)
        except Exception as error:
            print(f"  {key}, {form}: does not run: {str(error).strip().splitlines()[0][:200]}", flush=True)
    return min(secs, key=lambda form: secs[form], default="")


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


def torchvision_call(key: str, form: str, batch: int, size_px: int, device: Any) -> Callable[[], Any]:
    """Make the function of no arguments that is timed."""
    import torch

    model = make_torchvision(device, size_px).train(key == "step")
    compiler = {"dynamic": False, "backend": "inductor" if device.type == "cuda" else "aot_eager"}
    if form == "all compiled":
        model.compile(**compiler)
    elif form != "eager":
        model.backbone.compile(**compiler)
        model.head.compile(**compiler)
    images, boxes, classes = (torch.from_numpy(array).to(device) for array in make_inputs(batch, size_px))
    images = images.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
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
