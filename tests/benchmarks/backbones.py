"""Backbones of today beside ResNet-50 on this machine: python -m tests.benchmarks.backbones

RetinaNet with an FPN, float32 on a CPU and bf16 elsewhere: the run's training step and the network alone,
images a second. All are compiled first and then take turns; the table has the median (least to greatest) of
the rounds. The optimizer is each one's of configs/today.py, the images are as the pipeline sends them. On a
GPU `tests.benchmarks.gpu_all` is the one to compare with torchvision.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import numpy as np

from configs import today
from selftrain_jax.build.experiment import Experiment, build_experiment
from selftrain_jax.models.cost import count_multiply_adds
from selftrain_jax.models.retinanet import make_retinanet
from selftrain_jax.types import Category
from tests.benchmarks.gpu_ours import make_batch
from tests.benchmarks.gpu_passes import NUM_CLASSES, Settings

BACKBONES = ("resnet50", "convnext_tiny", "vit_small_dinov2", "vit_small_dinov3")
CATEGORIES = tuple(Category(id, str(id)) for id in range(1, NUM_CLASSES))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="of the images, px")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=BACKBONES, action="append", help="may be repeated")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    return parser.parse_args()


def build(backbone: str, args: argparse.Namespace) -> Experiment:
    """Compose the run of configs/today.py."""
    config = today.get_config(f"backbone={backbone},data=coco,init=imagenet")
    is_cpu = jax.default_backend() == "cpu"
    config.image.size_px, config.model.dtype = args.size, "float32" if is_cpu else "bfloat16"
    config.teacher.batch_size = config.student.batch_size = config.eval.batch_size = args.batch
    return build_experiment(config, CATEGORIES)


def compile_passes(backbone: str, args: argparse.Namespace) -> tuple[dict[str, Callable[[], Any]], dict]:
    """Compile both passes; return them, each done when its call returns, and what there is to tell."""
    settings = Settings(args.size, args.batch, calls=1, blocks=1, on_cpu=False, deadline=0.0)
    experiment, batch = build(backbone, args), make_batch(backbone, settings)
    state = experiment.new_state()
    model = make_retinanet(
        num_classes=NUM_CLASSES,
        backbone=backbone,
        dtype="float32" if jax.default_backend() == "cpu" else "bfloat16",
    )
    forward = partial(model.apply, train=False)
    images = jax.numpy.asarray(batch.images, jax.numpy.float32)
    start = time.perf_counter()
    step = experiment.train_step.lower(state, batch, 1e-4).compile()
    network = jax.jit(forward).lower(state.variables, images).compile()
    compile_secs = time.perf_counter() - start
    variables = jax.tree.map(jax.numpy.copy, state.variables)

    def train() -> None:
        nonlocal state
        state, metrics = step(state, batch, 1e-4)
        jax.block_until_ready(metrics)

    one_image = jax.ShapeDtypeStruct((1, *images.shape[1:]), images.dtype)
    about = {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(variables["params"])),
        "multiply_adds": count_multiply_adds(forward, variables, one_image),
        "compile_secs": compile_secs,
    }
    return {"step": train, "network": lambda: jax.block_until_ready(network(variables, images))}, about


def main() -> None:
    """Compile all, let them take turns, print the table."""
    args = parse()
    device = jax.devices()[0].device_kind
    print(f"{os.cpu_count()} CPU cores, {device}, JAX {jax.__version__}, {vars(args)}", flush=True)
    built = {name: compile_passes(name, args) for name in args.only or BACKBONES}
    secs: dict[tuple[str, str], list[float]] = {}
    for is_measured in [False] + [True] * args.rounds:
        for name, (passes, _) in built.items():
            for key, call in passes.items():
                start = time.perf_counter()
                call()
                if is_measured:
                    secs.setdefault((name, key), []).append(time.perf_counter() - start)
    print(
        "| backbone | parameters, M | multiply-adds, G | step, images/s | network, images/s | compiled, s |"
    )
    print("|---|---|---|---|---|---|")
    for name, (_, about) in built.items():
        rates = (args.batch / np.array(secs[name, key]) for key in ("step", "network"))
        shown = " | ".join(f"{np.median(r):.2f} ({r.min():.2f} to {r.max():.2f})" for r in rates)
        sizes = f"{about['parameters'] / 1e6:.1f} | {about['multiply_adds'] / 1e9:.1f}"
        print(f"| {name} | {sizes} | {shown} | {about['compile_secs']:.0f} |")
    if args.json:
        rows = {
            name: about | {key: secs[name, key] for key in ("step", "network")}
            for name, (_, about) in built.items()
        }
        content = {
            "device": device,
            "python": platform.python_version(),
            "jax": jax.__version__,
            "rows": rows,
        }
        args.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
