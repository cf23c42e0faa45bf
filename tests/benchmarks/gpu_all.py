"""Networks in bf16 on a GPU, beside torchvision's: python -m tests.benchmarks.gpu_all --budget-secs=480

Images a second of a training step, of the network alone (inference) and of the network with decoding and NMS
(predict), and their share of the GPU's dense bf16 peak. The most valuable rows come first; one for which no
time is left is named and left out. Each network has a process of its own, so that the GPU is free for the
next. Needs torch and torchvision for their row, and neither TensorFlow nor ml_collections.

A step is the whole step: ours with matching, focal and Huber loss, clipped SGD with momentum and weight
decay; torchvision's with its own matching and losses and a fused SGD. Both see the same number of boxes.
Predicting keeps every score, so that NMS has work, with each side's own number of candidates. The share of
the peak counts 2 floating-point operations a multiply-add of the network's convolutions, 3 times that for a
step. `--tiny` dry-runs everything on a CPU at 128 px.

With `--together` all our programs are compiled first, beside each other, which takes as long as the slowest.
The forms of the kernels are then chosen by timings that disturb each other. With `--profile DIR` the kernels
of each step are written there.
"""

import argparse
import json
import multiprocessing
import os
import platform
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.gpu_ours import DETECTORS, SEGMENTER, measure_ours
from tests.benchmarks.gpu_passes import Settings
from tests.benchmarks.gpu_torchvision import measure_torchvision

TORCHVISION = "torchvision RetinaNet R50-FPN"
# Dense bf16 floating-point operations a second, from NVIDIA's data sheets; the first name that fits counts.
PEAKS = {"H100 80GB HBM3": 989e12, "H100 SXM": 989e12, "H200": 989e12, "A100": 312e12}
FIRST, *OTHERS = DETECTORS
SIZES_AND_BATCHES = {
    FIRST: (640, 64),
    TORCHVISION: (640, 64),
    **dict.fromkeys(OTHERS[:1], (640, 64)),
    **dict.fromkeys(OTHERS[1:], (640, 16)),
    SEGMENTER: (512, 16),
}
MIN_SECS, CACHED_MIN_SECS = 40.0, 25.0  # of a process


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--budget-secs", type=float, default=480.0, help="of all rows together")
    parser.add_argument("--tiny", action="store_true", help="128 px, 2 images, on the CPU: a dry run")
    parser.add_argument("--together", action="store_true", help="compile all of our programs at once first")
    parser.add_argument("--profile", type=Path, help="write each step's kernels and program here")
    parser.add_argument("--batch", type=int, help="images a step in place of 64 or 16")
    parser.add_argument("--only", choices=list(SIZES_AND_BATCHES), action="append", help="may be repeated")
    parser.add_argument("--json", type=Path, help="write the numbers here, after each row")
    return parser.parse_args()


def settings_of(name: str, args: argparse.Namespace, deadline: float) -> Settings:
    """Return the size and length of one network's measurement."""
    size_px, batch = SIZES_AND_BATCHES[name]
    shared = {
        "deadline": deadline,
        "is_cached": args.together,
        "profile_dir": str(args.profile) if args.profile else "",
    }
    if args.tiny:
        return Settings(128, 2, calls=1, blocks=2, on_cpu=True, **shared)
    return Settings(size_px, args.batch or batch, calls=10, blocks=5, on_cpu=False, **shared)


def compile_together(names: list[str], args: argparse.Namespace, deadline: float) -> None:
    """Fill the compilation cache, each network in its own process; a failure shows when it is measured."""
    ours = {name: settings_of(name, args, deadline) for name in names if name != TORCHVISION}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(ours), spawn, max_tasks_per_child=1) as pool:
        started = [
            pool.submit(measure_ours, name, replace(settings, compile_only=True, is_cached=False))
            for name, settings in ours.items()
        ]
        for name, future in zip(ours, started, strict=True):
            if future.exception():
                print(f"  {name}: {type(future.exception()).__name__}: {str(future.exception())[:300]}")


def measure(name: str, settings: Settings) -> dict[str, Any]:
    """Measure one network in a process of its own; a failure is noted and does not stop the others."""
    measured = (measure_torchvision, settings) if name == TORCHVISION else (measure_ours, name, settings)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(*measured).result()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".strip().splitlines()[0][:300]
            print(f"  did not run: {reason}", flush=True)
            return {"failed": reason, "passes": {}}


def peak_of(device: str) -> float | None:
    """Return the GPU's dense bf16 peak where it is known."""
    return next((peak for name, peak in PEAKS.items() if name in device), None)


def complete(report: dict[str, dict[str, Any]]) -> None:
    """Add each row's share of the peak and its ratio to torchvision's."""
    theirs = report.get(TORCHVISION, {}).get("passes", {})
    for found in report.values():
        for key, row in found["passes"].items():
            rate, peak = row["images_per_second"], peak_of(found["device"])
            operations = (3 if key == "step" else 1) * 2 * found["multiply_adds"] * rate
            row["share_of_peak"] = operations / peak if peak else None
            row["ratio"] = rate / theirs[key]["images_per_second"] if key in theirs else None


def print_table(report: dict[str, dict[str, Any]]) -> None:
    """Print all rows with the spread over the blocks."""
    columns = f"{'batch':>5} {'images/s':>9} {'spread':>18} {'ms':>8} {'of peak':>8} {'ratio':>6}"
    print(f"\n{'network':34} {'pass':10} {columns}")
    for name, found in report.items():
        for key, row in found["passes"].items():
            secs, batch = np.array(row["secs"]), row["batch"]
            share = f"{row['share_of_peak']:.1%}" if row["share_of_peak"] else "unknown"
            ratio = f"{row['ratio']:.2f}" if row["ratio"] else "-"
            spread = f"{batch / secs.max():.1f} to {batch / secs.min():.1f}"
            values = f"{row['images_per_second']:9.1f} {spread:>18} {1e3 * np.median(secs):8.1f}"
            print(f"{name:34} {key:10} {batch:5} {values} {share:>8} {ratio:>6}  {row.get('form', '')}")
    print("\nratio: images/s over torchvision's ResNet-50-FPN")


def about() -> dict[str, Any]:
    """Return versions and flags."""
    packages = ("jax", "jaxlib", "flax", "torch", "torchvision", "numpy")
    versions = {name: version(name) for name in packages if find_spec(name)}
    return {
        "versions": {"python": platform.python_version()} | versions,
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def main() -> None:
    """Measure one network after the other and print the table."""
    args = parse()
    deadline = time.time() + args.budget_secs
    if args.tiny:
        os.environ.update(JAX_PLATFORMS="cpu", CUDA_VISIBLE_DEVICES="")  # for the processes started below
    report: dict[str, dict[str, Any]] = {}
    if args.together:
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", tempfile.mkdtemp())
        compile_together(args.only or list(SIZES_AND_BATCHES), args, deadline)
        print(f"compiled; {deadline - time.time():.0f} s left", flush=True)
    for name in args.only or SIZES_AND_BATCHES:
        if name == TORCHVISION and not (find_spec("torch") and find_spec("torchvision")):
            print(f"{name}: not measured; torch or torchvision is not installed", flush=True)
            continue
        settings = settings_of(name, args, deadline)
        if not settings.has_time(name, CACHED_MIN_SECS if args.together else MIN_SECS):
            continue
        print(f"{name}, {settings.size_px} px, batch {settings.batch}", flush=True)
        report[name] = measure(name, settings)
        complete(report)
        if args.json:
            args.json.write_text(json.dumps(about() | {"networks": report}, indent=1) + "\n")
    print(json.dumps(about()))
    print_table(report)


if __name__ == "__main__":
    main()
