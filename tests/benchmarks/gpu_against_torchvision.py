"""RetinaNet in bf16 on a GPU against torchvision's: python -m tests.benchmarks.gpu_against_torchvision

Images a second of a training step, of the network alone (inference) and of the network with decoding and
NMS (predict), at 640 px and the best batch: ours on ResNet-50-FPN and SpineNet-49 against torchvision's
`retinanet_resnet50_fpn` with autocast, channels_last and torch.compile. Needs torch and torchvision.

A step is the whole step: ours with matching, focal and Huber loss, clipped SGD with momentum and weight
decay; torchvision's with its own matching and losses and a fused SGD. Both see the same number of boxes.
Predicting keeps every score, so that NMS has work, with each side's own number of candidates (torchvision
1000 of a level, we 5000 of a class). Each network has a process of its own, so that the GPU is free for
the next. Batches double until the memory is full. Torchvision's compiled forms are tried at the first
batch, and the fastest goes on. The share of the peak counts 2 floating-point operations a multiply-add of
the network's convolutions, 3 times that for a step. `--tiny` dry-runs everything on a CPU at 128 px.
"""

import argparse
import json
import multiprocessing
import os
import platform
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.gpu_sides import (
    CONTENDERS,
    PASSES,
    TORCHVISION,
    Settings,
    best_of,
    measure_ours,
    measure_torchvision,
)

GOAL = 1.3  # times torchvision
# Dense bf16 floating-point operations a second, from NVIDIA's data sheets; the first name that fits counts.
PEAKS = {"H100 80GB HBM3": 989e12, "H100 SXM": 989e12, "H200": 989e12, "A100": 312e12}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="128 px, 2 images, on the CPU: a dry run")
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 16, 32, 64])
    parser.add_argument("--only", choices=CONTENDERS, action="append", help="may be repeated")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    return parser.parse_args()


def peak_of(device: str) -> float | None:
    """Return the GPU's dense bf16 peak where it is known."""
    return next((peak for name, peak in PEAKS.items() if name in device), None)


def print_table(report: dict[str, dict[str, Any]]) -> None:
    """Print each pass at its best batch; note it in the report."""
    header = (
        f"{'network':25} {'pass':10} {'batch':>5} {'images/s':>9} {'spread':>18} {'ms':>8} {'of peak':>8}"
    )
    print(f"\n{header} {'ratio':>6}  form")
    for key in PASSES:
        for name, found in report.items():
            found.setdefault("best", {})[key] = row = dict(best_of(found["passes"][key]))
            if not row:
                print(f"{name:25} {key:10} did not run; see above")
                continue
            secs, rate = np.array(row["secs"]), row["images_per_second"]
            peak, operations = peak_of(found["device"]), 2 * found["multiply_adds"] * rate
            row["share_of_peak"] = (3 if key == "step" else 1) * operations / peak if peak else None
            theirs = best_of(report[TORCHVISION]["passes"][key]) if TORCHVISION in report else {}
            row["ratio"] = rate / theirs["images_per_second"] if theirs else None
            share = f"{row['share_of_peak']:.1%}" if peak else "unknown"
            ratio = f"{row['ratio']:.2f}" if theirs else "-"
            spread = f"{row['batch'] / secs.max():.1f} to {row['batch'] / secs.min():.1f}"
            print(
                f"{name:25} {key:10} {row['batch']:5} {rate:9.1f} {spread:>18} {1e3 * np.median(secs):8.1f} "
                f"{share:>8} {ratio:>6}  {found['forms'][key]}"
            )
    print(f"\nratio: images/s over torchvision's; the goal is {GOAL} for a step and for inference")


def main() -> None:
    """Measure one network after the other and print the table."""
    args = parse()
    missing = [package for package in ("torch", "torchvision") if find_spec(package) is None]
    if missing:
        raise SystemExit(f"{' and '.join(missing)} not installed; pip install torch torchvision")
    settings = Settings(640, tuple(args.batches), calls=10, blocks=5, on_cpu=False)
    if args.tiny:
        settings = Settings(128, (2,), calls=1, blocks=2, on_cpu=True)
        os.environ.update(JAX_PLATFORMS="cpu", CUDA_VISIBLE_DEVICES="")  # for the processes started below
    report = {}
    for name in args.only or CONTENDERS:
        print(name, flush=True)
        measure = measure_torchvision if name == TORCHVISION else measure_ours
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            report[name] = pool.submit(measure, name, settings).result()
        if not args.tiny and peak_of(report[name]["device"]) is None:
            print(f"  no peak is known for {report[name]['device']}")
    packages = ("jax", "jaxlib", "flax", "torch", "torchvision", "numpy")
    about: dict[str, Any] = {
        "versions": {"python": platform.python_version()} | {p: version(p) for p in packages}
    }
    about |= {"size_px": settings.size_px, "xla_flags": os.environ.get("XLA_FLAGS", "")}
    about |= {"devices": sorted({found["device"] for found in report.values()})}
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    print_table(report)
    if args.json:
        args.json.write_text(json.dumps(about | {"networks": report}, indent=1) + "\n")


if __name__ == "__main__":
    main()
