"""Does the label job keep up with its network? python -m tests.benchmarks.labelling [--devices=1,2,8]

Labels 500 x 375 JPEGs with boxes and with masks. "reading" decodes the images in the job's threads, "network"
labels images that lie in memory, decoded, and throws the labels away; "job" reads, labels and writes shards,
indexes and manifest. The goal is a job within 1.1 times the slower of the other two, which a machine can
reach whose network does not run on the cores that read. Each number of devices is a process of its own, the
devices threads of the CPU. The ways take turns in each round; median (least to greatest).
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import dataclasses

import jax

from selftrain_jax.data.source import Source
from selftrain_jax.jobs.run import Run, open_run
from selftrain_jax.selftrain.inference import chunks_in_order
from selftrain_jax.selftrain.label_job import write_pseudo_labels
from selftrain_jax.threads import NUM_READERS, thread_pool
from selftrain_jax.train.state import eval_variables
from selftrain_jax.types import Variables
from tests import tiny, tiny_masks
from tests.benchmarks.multi_scale_labelling import photographs

CONFIGS = {"boxes": tiny.get_config, "masks": tiny_masks.get_config}
PROVENANCE = {"teacher": {"checkpoint": "none", "digest": "none", "step": 0}, "versions": {}}
RESULT = "result: "  # begins the line that the table takes from a process


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--devices", default="1,2,8")
    parser.add_argument("--size-px", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--task", choices=CONFIGS, help="do one task, on the devices of this process")
    return parser.parse_args()


def make_run(options: argparse.Namespace, folder: pathlib.Path) -> tuple[Run, Variables]:
    """Compose a small network; its weights are random."""
    config = CONFIGS[options.task]()
    config.image.size_px, config.eval.batch_size = options.size_px, options.batch
    config.teacher.batch_size = config.student.batch_size = 2 * options.batch
    run = open_run(config, folder)
    return run, eval_variables(run.experiment.new_state())


def in_memory(source: Source) -> Source:
    """Return the source with its images decoded; their bytes are read as before."""
    images = [source.read_image(index) for index in range(len(source))]
    return dataclasses.replace(source, read_image=images.__getitem__)


def read_all(source: Source) -> None:
    """Decode in as many threads as the job does."""
    with thread_pool(NUM_READERS) as pool:
        for _ in pool.map(source.read_image, range(len(source))):
            pass


def label_all(run: Run, variables: Variables, source: Source, options: argparse.Namespace) -> None:
    """Label, and throw the labels away."""
    labeller = run.predictor.labeller([variables], source)
    for _ in labeller.infer(chunks_in_order(len(source), options.batch)):
        pass


def run_job(run: Run, variables: Variables, source: Source, options: argparse.Namespace) -> None:
    """Label and write."""
    with tempfile.TemporaryDirectory() as folder:
        write_pseudo_labels(
            directory=pathlib.Path(folder),
            source=source,
            labeller=run.predictor.labeller([variables], source),
            categories=run.sources.human.categories,
            provenance=PROVENANCE,
            images_per_shard=4 * options.batch,
        )


def rate(work: Callable[[], object], count: int) -> float:
    """Return how many a second."""
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)


def measure(options: argparse.Namespace) -> None:
    """Print the rows of one task on the devices of this process."""
    source = photographs(options.images)
    with tempfile.TemporaryDirectory() as folder:
        run, variables = make_run(options, pathlib.Path(folder))
        decoded = in_memory(source)
        ways: dict[str, Callable[[], object]] = {
            "reading": lambda: read_all(source),
            "network": lambda: label_all(run, variables, decoded, options),
            "job": lambda: run_job(run, variables, source, options),
        }
        for work in ways.values():
            work()
        found: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(options.rounds):
            for way, work in ways.items():
                found[way].append(rate(work, options.images))
    cells = [
        f"{way} {statistics.median(rates):.0f} ({min(rates):.0f} to {max(rates):.0f})"
        for way, rates in found.items()
    ]
    ratios = [min(found["reading"][i], found["network"][i]) / found["job"][i] for i in range(options.rounds)]
    ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    print(
        f"{RESULT}{options.task}, {jax.device_count()} devices: images/s: {', '.join(cells)}; "
        f"the job takes {ratio} times as long as the slower",
        flush=True,
    )


def main() -> None:
    """Print a row for each task and number of devices."""
    options = parse()
    if options.task:
        return measure(options)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, JAX {jax.__version__}", flush=True)
    for task in CONFIGS:
        for devices in options.devices.split(","):
            flags = f"--xla_force_host_platform_device_count={devices}"
            command = [sys.executable, "-m", "tests.benchmarks.labelling", f"--task={task}", *sys.argv[1:]]
            ended = subprocess.run(
                command, env={**os.environ, "XLA_FLAGS": flags}, stdout=subprocess.PIPE, text=True, check=True
            )
            print(ended.stdout.split(RESULT)[1], end="", flush=True)
    return None


if __name__ == "__main__":
    main()
