"""Training and labelling as a run does them, on this machine: python -m tests.benchmarks.whole_run

RetinaNet ResNet-50-FPN in bf16 at 640 px on all devices, through the run's own pipeline and loop: images
a second at every log line, the share of time that the devices wait for data, how often the step was compiled,
the memory of a device. Then the pseudo-label job end to end and each of its parts alone: reading,
the network, the network with decoding and NMS, writing. The parts overlap in the job, so their shares may
add up to more than one; the largest bounds it. Images are 640 x 480 JPEGs; the network is untrained and
keeps every score, so that NMS and writing have 100 boxes of each image. `--tiny` tries it on a CPU at 128 px.
"""

import argparse
import dataclasses
import functools
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import numpy as np
from ml_collections import ConfigDict

from configs import coco_retinanet
from selftrain_jax.build.set_apart import Sources
from selftrain_jax.data.source import Source, decode_image, without_labels
from selftrain_jax.data.sources.coco import COCO_CATEGORIES
from selftrain_jax.jobs.run import Run, make_run
from selftrain_jax.jobs.training import train_stage
from selftrain_jax.models.input_normalization import normalize
from selftrain_jax.models.retinanet import make_retinanet
from selftrain_jax.run_files.metrics import METRICS_FILE, read_metrics
from selftrain_jax.selftrain.inference import stack_fitted
from selftrain_jax.selftrain.label_job import write_pseudo_labels
from selftrain_jax.selftrain.labeller import Labeller
from selftrain_jax.stages.graph import TEACHER
from selftrain_jax.tasks.detection.inference import build_detector
from selftrain_jax.train.sharding import jit_predict, local_mesh
from selftrain_jax.types import Variables
from tests.benchmarks.input_pipeline import photographs

READING_THREADS = 8  # as the labeller has


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="ResNet-18, 128 px, few images: a dry run")
    parser.add_argument("--batch", type=int, default=64, help="images a step")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--policy", default="s1", help="s1 to s4")
    parser.add_argument("--images", type=int, default=4096, help="to label")
    parser.add_argument("--rounds", type=int, default=3, help="of the label job and of each part")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    return parser.parse_args()


def make_config(args: argparse.Namespace) -> ConfigDict:
    """Return the COCO config, of a size for one machine."""
    config = coco_retinanet.get_config(
        f"backbone={'resnet18' if args.tiny else 'resnet50'},aug={args.policy}"
    )
    config.image.size_px = 128 if args.tiny else 640
    config.teacher.update(steps=args.steps, batch_size=args.batch, learning_rate=0.001)
    config.student.batch_size = config.eval.batch_size = args.batch
    config.log.update(every_steps=max(1, args.steps // 10), tensorboard=False)
    config.optimizer.warmup_steps = args.steps // 2
    config.checkpoint.every_steps = config.eval.every_steps = 0  # at the end alone
    config.postprocess.score_threshold = config.pseudo.score_floor = 0.0
    return config


def measure_training(run: Run) -> dict[str, Any]:
    """Train a teacher; its log has the speed."""
    compiled: list[float] = []

    def note(event: str, secs: float, **about: Any) -> None:
        if event.endswith("backend_compile_duration") and "train_step" in about.get("fun_name", ""):
            compiled.append(round(secs, 1))

    jax.monitoring.register_event_duration_secs_listener(note)
    train_stage(run, TEACHER)
    rows = [
        row
        for row in read_metrics(run.workdir / "teacher" / METRICS_FILE)
        if "speed/images_per_second" in row
    ]
    memory = jax.devices()[0].memory_stats() or {}
    return {
        "images_per_second": [row["speed/images_per_second"] for row in rows],
        "data_wait_share": [row["speed/data_wait_share"] for row in rows],
        "compile_secs": compiled,
        "peak_gib": memory["peak_bytes_in_use"] / 2**30 if "peak_bytes_in_use" in memory else None,
        "loss": [row["train/loss"] for row in rows],
    }


def measure_labelling(run: Run, source: Source, rounds: int) -> dict[str, list[float]]:
    """Time the job and its parts, by turns: images a second of each."""
    variables = run.experiment.new_state().variables
    labeller = run.predictor.labeller([variables], source)
    kept: list[InferredChunk] = []

    def keep(chunks: Iterable[tuple[int, Any]]) -> Iterator[InferredChunk]:
        kept.clear()
        for chunk in labeller.infer(chunks):
            kept.append(chunk)
            yield chunk

    contenders: dict[str, Callable[[], Any]] = {
        "the job": functools.partial(write, run, source, labeller._replace(infer=keep)),
        "writing alone": functools.partial(
            write, run, source, labeller._replace(infer=lambda chunks: iter(kept))
        ),
        **network_parts(run, source, variables),
    }
    images_per_second: dict[str, list[float]] = {name: [] for name in contenders}
    for is_measured in [False] + [True] * rounds:  # the first round compiles
        for name, call in contenders.items():
            begin = time.perf_counter()
            call()
            if is_measured:
                images_per_second[name].append(len(source) / (time.perf_counter() - begin))
    return images_per_second


def network_parts(run: Run, source: Source, variables: Variables) -> dict[str, Callable[[], Any]]:
    """Return what reads all images, and what runs the network over as many."""
    config, mesh = run.config, local_mesh(run.experiment.mesh)
    detector = build_detector(config, run.experiment.task, run.experiment.mesh)
    fields = {key: value for key, value in config.model.to_dict().items() if key != "anchor_size"}
    model = make_retinanet(num_classes=max(category.id for category in COCO_CATEGORIES) + 1, **fields)
    forward = jit_predict(
        mesh, lambda variables, fitted: model.apply(variables, normalize(fitted), train=False)
    )
    placed = detector.place(variables)
    num_batches = -(-len(source) // config.eval.batch_size)
    loaded = detector.load(decode_image(source.read_encoded(0), "the first"))
    rows = dict.fromkeys(range(config.eval.batch_size), loaded)
    fitted = stack_fitted(rows, len(rows), config.image.size_px)

    def read() -> None:
        with ThreadPoolExecutor(READING_THREADS) as pool:
            for _ in pool.map(lambda index: detector.load(source.read_image(index)), range(len(source))):
                pass

    def repeat(predict: Callable[[Variables, Any], Any]) -> None:
        for _ in range(num_batches):
            found = predict(placed, fitted)
        jax.block_until_ready(found)

    return {
        "reading alone": read,
        "network alone": functools.partial(repeat, forward),
        "network, decoding, NMS alone": functools.partial(repeat, detector.predict),
    }


def write(run: Run, source: Source, labeller: Labeller) -> None:
    """Run the label job into a folder of its own."""
    teacher = {"checkpoint": "", "digest": "untrained", "step": 0}
    with tempfile.TemporaryDirectory() as folder:
        manifest = write_pseudo_labels(
            directory=Path(folder),
            source=source,
            labeller=labeller,
            categories=run.sources.human.categories,
            provenance={
                "teacher": teacher,
                **run.self_training.label_settings(run.config),
                "config": {},
                "versions": {},
            },
            images_per_shard=1024,
        )
    assert manifest.num_images == len(source), "images are missing in the shards"


def main() -> None:
    """Measure both and print the tables."""
    args = parse()
    if args.tiny:
        args.batch, args.steps, args.images, args.rounds = 4, 10, 32, 2
    config, classes = make_config(args), tuple(COCO_CATEGORIES)
    human, test = (dataclasses.replace(photographs(n), categories=classes) for n in (1024, args.batch))
    unlabeled = without_labels(photographs(args.images))
    device = jax.devices()[0].device_kind
    print(f"{len(jax.devices())} x {device}, {os.cpu_count()} CPU cores, JAX {jax.__version__}, {vars(args)}")
    with tempfile.TemporaryDirectory() as folder:
        sources = Sources(human, unlabeled, None, test, test)
        run = make_run(config, Path(folder), sources)
        training = measure_training(run)
        labelling = measure_labelling(run, unlabeled, args.rounds)
    print_training(training)
    print_labelling(labelling)
    if args.json:
        about = {"device": device, "num_devices": len(jax.devices()), "cpu_cores": os.cpu_count()}
        about |= {"jax": jax.__version__, "python": platform.python_version()}
        about |= {key: value for key, value in vars(args).items() if key != "json"}
        text = json.dumps({**about, "training": training, "labelling": labelling}, indent=1)
        args.json.write_text(text + "\n", encoding="utf-8")


def print_training(found: dict[str, Any]) -> None:
    """Print what the log says; its first line still has the start of the pipeline in it."""
    speed, wait = (np.array(found[key][1:]) for key in ("images_per_second", "data_wait_share"))
    memory = "not known" if found["peak_gib"] is None else f"{found['peak_gib']:.1f} GiB"
    print(f"\ntraining: {np.median(speed):.1f} images/s ({speed.min():.1f} to {speed.max():.1f})")
    print(f"waits for data: {np.median(wait):.1%} of the time ({wait.min():.1%} to {wait.max():.1%})")
    print(
        f"compiled {len(found['compile_secs'])} time(s): {found['compile_secs']} s; memory at most {memory}"
    )


def print_labelling(found: dict[str, list[float]]) -> None:
    """Print each part's speed and what share of the job's time it takes when it runs alone."""
    job = np.median(found["the job"])
    print(f"\n{'labelling':30}{'images/s':>9}{'spread':>20}{'share of the job':>18}")
    for name, rates in found.items():
        spread = f"{min(rates):.1f} to {max(rates):.1f}"
        print(f"{name:30}{np.median(rates):9.1f}{spread:>20}{job / np.median(rates):18.1%}")


if __name__ == "__main__":
    main()
