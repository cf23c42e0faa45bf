"""What a run waits for besides its steps: python -m tests.benchmarks.start_and_save

The second start of a command beside its first, which compiles: from the command to the first update, with
an empty cache and with the one that the first has filled; the two take turns. Then checkpoints of RetinaNet
ResNet-50-FPN with an average: what a step waits for (`save` returns, the writing goes on behind it), and
what it would wait for if nothing went on behind it.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import numpy as np

from configs import coco_retinanet
from selftrain_jax.build.experiment import build_experiment
from selftrain_jax.data.sources.coco import COCO_CATEGORIES
from selftrain_jax.train.checkpoint import Checkpoints

START_ROUNDS, SAVE_ROUNDS = 3, 5
CONFIG = "configs/quickstart.py"


def main() -> None:
    """Print both tables."""
    print(f"{os.cpu_count()} cores, {jax.devices()[0].device_kind}, JAX {jax.__version__}")
    starts = []
    for _ in range(START_ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            cache = pathlib.Path(folder) / "compiled"
            starts.append([seconds_to_first_step(pathlib.Path(folder) / f"run{i}", cache) for i in range(2)])
    first, second = np.array(starts).T
    print(f"{CONFIG}, command to first update: first {spread(first)}, second {spread(second)}")
    with tempfile.TemporaryDirectory() as folder:
        save(pathlib.Path(folder))


def seconds_to_first_step(workdir: pathlib.Path, cache: pathlib.Path) -> float:
    """Start a run, wait until it says that it runs, and end it."""
    command = [sys.executable, "-m", "selftrain_jax.main", f"--config={CONFIG}", f"--workdir={workdir}"]
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache)}
    begin = time.perf_counter()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "compiled and running" in line:
                break
        took = time.perf_counter() - begin
        process.kill()
    return took


def save(folder: pathlib.Path) -> None:
    """Time a few saves of a real state."""
    config = coco_retinanet.get_config("backbone=resnet50")
    config.optimizer.ema_decay = 0.999
    config.update(mesh={"space": 1, "model": 1})
    experiment = build_experiment(config, tuple(COCO_CATEGORIES), devices=jax.devices()[:1])
    state = experiment.new_state()
    size_mib = sum(leaf.nbytes for leaf in jax.tree.leaves(state._replace(rng=()))) / 2**20
    stalls, wholes = [], []
    with Checkpoints(folder, keep=2) as checkpoints:
        for step in range(1, SAVE_ROUNDS + 2):
            begin = time.perf_counter()
            checkpoints.save(state._replace(step=np.int32(step)), score=None, training_secs=0.0)
            stalls.append(time.perf_counter() - begin)
            checkpoints._manager.wait_until_finished()
            wholes.append(time.perf_counter() - begin)
    stall, whole = np.array(stalls[1:]), np.array(wholes[1:])  # the first makes threads and folders
    print(f"checkpoint of {size_mib:.0f} MiB: a step waits {spread(stall)}, written after {spread(whole)}")
    every = config.checkpoint.every_steps
    print(f"once every {every} steps, a step's share is {1000 * np.median(stall) / every:.2f} ms")


def spread(seconds: np.ndarray) -> str:
    """Write median, least and greatest."""
    return f"{np.median(seconds):.2f} s ({seconds.min():.2f} to {seconds.max():.2f})"


if __name__ == "__main__":
    main()
