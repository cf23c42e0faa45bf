"""Exported networks beside JAX, in one run: size, largest difference and images a second.

python -m tests.benchmarks.exports RUN [--seconds=5] [--json=FILE]

RUN is the folder of a run of detectors whose newest stage is finished. Formats whose packages are missing are
left out, and said. Images are noise: speed and differences are those of the network; NMS finds little.
"""

import argparse
import json
import os
import pathlib
import tempfile
import time
from functools import partial

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import numpy as np

import selftrain_jax
from selftrain_jax.errors import InputError
from selftrain_jax.export.compare import compare
from selftrain_jax.export.formats import FORMATS
from selftrain_jax.export.program import Results
from selftrain_jax.jobs.export import make_export_program
from selftrain_jax.jobs.model import Model


def images_per_second(function: Results, images: np.ndarray, covered_px: np.ndarray, seconds: float) -> float:
    """Run batches for so many seconds, after two that compile."""
    for _ in range(2):
        jax.block_until_ready(function(images, covered_px))
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        jax.block_until_ready(function(images, covered_px))
        count += len(images)
    return count / (time.perf_counter() - start)


def size_mib(path: pathlib.Path) -> float:
    """Return the size of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 2**20


def measure(model: Model, name: str, nms: bool, seconds: float) -> dict[str, object]:
    """Write, open, compare and time one format."""
    chosen = FORMATS[name]
    assert chosen is not None
    config = model.config.copy_and_resolve_references()
    config.export.update(batch_size=1, nms=nms)
    side = config.image.size_px
    images = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)
    covered_px = np.full((1, 2), side, np.int32)
    running = jax.jit(make_export_program(config, model, has_nms=False).run)
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = chosen.write(
                make_export_program(config, model, has_nms=chosen.has_nms), pathlib.Path(folder)
            )
            found = chosen.open(path)
        except InputError as error:
            return {"format": name, "nms": nms, "left out": str(error)[:120]}
        speed = partial(images_per_second, images=images, covered_px=covered_px, seconds=seconds)
        return {
            "format": name,
            "nms": nms,
            "mib": round(size_mib(path), 1),
            "differences": compare(found, running, images, covered_px, 1),
            "jax": round(speed(running), 2),
            "images_per_second": round(speed(found), 2),
        }


def main() -> None:
    """Print and write one row a format, with and without NMS."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    model = selftrain_jax.load(options.run, batch_size=1)
    device, load = jax.devices()[0].device_kind, os.getloadavg()[0]
    print(f"{model.checkpoint}: {model.config.model.backbone}, {model.config.image.size_px} px, batch 1")
    print(f"{device}, {os.cpu_count()} cores, load {load:.1f}, JAX {jax.__version__}")
    rows = []
    for name in (name for name, chosen in FORMATS.items() if chosen is not None):
        for nms in (True, False):
            rows.append(measure(model, name, nms, options.seconds))
            print(rows[-1], flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
