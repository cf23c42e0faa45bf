"""Our side of `gpu_all`: a network's training step, its inference, and inference with decoding and NMS."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tests.benchmarks.gpu_kernels import write_profile
from tests.benchmarks.gpu_passes import (
    BOX_SLOTS,
    LEARNING_RATE,
    NUM_BOXES,
    NUM_CLASSES,
    WEIGHT_DECAY,
    Settings,
    describe,
    make_inputs,
    time_blocks,
)
from tests.models.random_variables import random_variables

# backbone (none: an EfficientNet), the fields of its model, and its anchors' size
DETECTORS: dict[str, tuple[str, dict[str, Any], float]] = {
    "RetinaNet R50-FPN": ("resnet50", {"activation": "relu"}, 4.0),
    "RetinaNet SpineNet-49": ("spinenet49", {"activation": "swish"}, 3.0),
    "RetinaNet EfficientNet-B7-FPN": ("", {"activation": "swish"}, 4.0),
}
SEGMENTER = "segmenter EfficientNet-B7 NAS-FPN"
NUM_MASK_CLASSES = 21
COMPILE_SECS = {"step": 170.0, "inference": 30.0, "predict": 15.0}  # with autotuning, about
CACHED_SECS = {"step": 35.0, "inference": 10.0, "predict": 10.0}  # where the compilation cache has it


def make_task(name: str, settings: Settings) -> tuple[Any, Any]:
    """Make the model and its task; a dry run on the CPU has EfficientNet-B0 for B7."""
    from selftrain_jax.detection.postprocess import Postprocess
    from selftrain_jax.detection.task import make_detection_task
    from selftrain_jax.models.retinanet import make_retinanet
    from selftrain_jax.models.segmenter import make_segmenter
    from selftrain_jax.segmentation.task import make_segmentation_task

    size_px, efficientnet = settings.size_px, f"efficientnet_{'b0' if settings.on_cpu else 'b7'}"
    if name == SEGMENTER:
        paper = dict(nas_fpn_repeats=7, separable=True, bn_epsilon=1e-3)
        segmenter = make_segmenter(
            num_classes=NUM_MASK_CLASSES,
            backbone=efficientnet,
            neck="nas_fpn",
            dtype="bfloat16",
            **paper,
        )
        return segmenter, make_segmentation_task(model=segmenter, image_size_px=size_px)
    backbone, fields, anchor_size = DETECTORS[name]
    backbone = backbone or efficientnet
    detector = make_retinanet(backbone=backbone, num_classes=NUM_CLASSES, dtype="bfloat16", **fields)
    task = make_detection_task(
        model=detector,
        image_size_px=size_px,
        anchor_size=anchor_size,
        postprocess=Postprocess(score_threshold=0.0),
    )
    return detector, task


def make_batch(name: str, settings: Settings) -> Any:
    """A batch on the device, as the pipeline sends it: boxes padded, or masks of random classes."""
    import jax.numpy as jnp

    from selftrain_jax.types import Batch, BoxTargets, MaskTargets

    images, boxes, classes = make_inputs(settings)
    no_pseudo = jnp.zeros(settings.batch, bool)
    covered_px = jnp.full((settings.batch, 2), settings.size_px, jnp.int32)
    if name == SEGMENTER:
        masks = np.random.default_rng(1).integers(0, NUM_MASK_CLASSES, images.shape[:3]).astype(np.uint8)
        return Batch(jnp.asarray(images), MaskTargets(jnp.asarray(masks)), no_pseudo, None, covered_px)
    empty = [(0, 0), (0, BOX_SLOTS - NUM_BOXES)]
    valid = np.broadcast_to(np.arange(BOX_SLOTS) < NUM_BOXES, (settings.batch, BOX_SLOTS))
    arrays = (
        np.pad(boxes, [*empty, (0, 0)]),
        np.pad(classes, empty).astype(np.int32),
        valid,
        np.zeros_like(valid),
    )
    targets = BoxTargets(*map(jnp.asarray, arrays))
    return Batch(jnp.asarray(images), targets, no_pseudo, None, covered_px)


def measure_ours(name: str, settings: Settings) -> dict[str, Any]:
    """Time the passes for which there is time, the step first; half the batch where it does not fit."""
    fraction = "0.2" if settings.compile_only else "0.92"  # several compile beside each other
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", fraction)
    import jax

    while True:
        try:
            return _measure(name, settings)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error) or settings.batch == 1:
                raise
            print(f"  batch {settings.batch} does not fit into memory", flush=True)
            settings = replace(settings, batch=settings.batch // 2)


def _measure(name: str, settings: Settings) -> dict[str, Any]:
    import jax

    from selftrain_jax.models.cost import count_multiply_adds
    from selftrain_jax.models.input_normalization import fitted_images, normalize, take_pixels

    model, task = make_task(name, settings)
    image = jax.ShapeDtypeStruct((1, settings.size_px, settings.size_px, 3), "float32")
    shapes = jax.eval_shape(task.init, jax.random.key(0))
    forward = partial(model.apply, train=False)
    task = take_pixels(task)
    report: dict[str, Any] = {
        "device": jax.devices()[0].device_kind,
        "multiply_adds": count_multiply_adds(forward, shapes, image),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])),
        "passes": {},
    }
    batch = make_batch(name, settings)
    variables = jax.device_put(random_variables(task.init, jax.random.key(0)))
    needed = CACHED_SECS if settings.is_cached else COMPILE_SECS
    if settings.has_time("step", needed["step"]):
        report["passes"]["step"] = time_step(name, task, variables, batch, settings)

    def inference(variables: Any, fitted: Any) -> Any:
        return forward(variables, normalize(fitted))

    for key, function in (("inference", inference), ("predict", task.predict)):
        if (key == "inference" or name != SEGMENTER) and settings.has_time(key, needed[key]):
            arguments = (variables, fitted_images(batch))
            report["passes"][key] = time_compiled(key, function, arguments, settings)
    return report


def time_compiled(
    key: str, function: Callable[..., Any], arguments: tuple[Any, ...], settings: Settings
) -> dict[str, Any]:
    """Compile a function without a state, then time it."""
    import jax

    start = time.perf_counter()
    compiled = jax.jit(function).lower(*arguments).compile()
    compile_secs = time.perf_counter() - start
    secs = time_blocks(lambda: compiled(*arguments), jax.block_until_ready, settings)
    return say(key, describe(settings.batch, secs, compile_secs=compile_secs))


def time_step(name: str, task: Any, variables: Any, batch: Any, settings: Settings) -> dict[str, Any]:
    """Compile the run's training step, then time it; its kernels are noted where that is asked for."""
    import jax

    from selftrain_jax.selftrain.loss_norm import ema_loss_normalizer
    from selftrain_jax.train.optimizer import momentum_sgd
    from selftrain_jax.train.sharding import make_mesh, shard_state
    from selftrain_jax.train.state import create_state
    from selftrain_jax.train.step import jit_train_step, make_train_step

    tx, normalizer = momentum_sgd(weight_decay=WEIGHT_DECAY, clip_norm=10.0), ema_loss_normalizer(1.0)
    mesh = make_mesh(devices=jax.devices()[:1])
    given = task._replace(init=lambda _: variables)
    state = shard_state(mesh, create_state(given, tx, normalizer, jax.random.key(0)))
    start = time.perf_counter()
    lowered = jit_train_step(make_train_step(task, tx, normalizer), mesh).lower(state, batch, LEARNING_RATE)
    traced = time.perf_counter()
    compiled = lowered.compile()
    compile_secs = time.perf_counter() - traced
    temporaries = compiled.memory_analysis().temp_size_in_bytes

    def call() -> Any:
        nonlocal state
        state, metrics = compiled(state, batch, LEARNING_RATE)
        return metrics

    secs = time_blocks(call, jax.block_until_ready, settings)
    if not settings.compile_only:
        assert np.isfinite(float(call()["train/loss"])), "the loss is not finite"
        if settings.profile_dir:
            write_profile(settings.profile_dir, name, compiled, call)
    more = {
        "trace_secs": traced - start,
        "compile_secs": compile_secs,
        "temporaries_gib": temporaries / 2**30,
    }
    return say("step", describe(settings.batch, secs, **more))


def say(key: str, row: dict[str, Any]) -> dict[str, Any]:
    """Print a row as soon as it is there."""
    compile_secs = row["compile_secs"]
    rate = row["images_per_second"]
    speed = f"{rate:.1f} images/s, {1e3 * np.median(row['secs']):.1f} ms, " if rate else ""
    print(f"  {key}: {speed}compiled in {compile_secs:.0f} s", flush=True)
    return row
