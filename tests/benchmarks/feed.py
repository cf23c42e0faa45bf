"""How fast a host feeds its devices: python -m tests.benchmarks.feed [--sizes 640 1280] [--tiny]

Two tables, each with images as they travel now (bytes, interleaved in the pipeline, placed by the thread that
reads ahead) beside images as they travelled before (float32, normalised on the host, two streams joined by
copies and placed by the thread that trains):

- From disk to device: 640 x 480 JPEGs in a folder, half human and half pseudo, through S1 to S4.
- The single-threaded part alone: images that are made already, into batches, mixed and placed.

Each row is the median (least to greatest) over rounds in which all rows take turns. Images a second by the
clock depend on what else the machine does; those of a second of CPU (all threads together) do less.
"""

import argparse
import contextlib
import functools
import os
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import numpy as np
import tensorflow as tf

from selftrain_jax.augment.policies import POLICIES, augment_policy
from selftrain_jax.data.batch_timeout import Reading
from selftrain_jax.data.pipeline import Augment, ExampleStream, batch_examples, make_examples
from selftrain_jax.data.source import Source, decode_image
from selftrain_jax.models.input_normalization import MEAN_RGB, STDDEV_RGB
from selftrain_jax.tasks.detection.targets import box_targets
from selftrain_jax.train.sharding import make_mesh, shard_batch
from selftrain_jax.types import Batch, BatchStream
from tests.benchmarks.input_pipeline import photographs

BATCH_SIZE, NUM_BOXES, MAX_BOXES = 16, 12, 100
SCALE = np.array([1 / (255 * stddev) for stddev in STDDEV_RGB], np.float32)
SHIFT = np.array([mean / stddev for mean, stddev in zip(MEAN_RGB, STDDEV_RGB, strict=True)], np.float32)


def parse_args() -> argparse.Namespace:
    """Read the command line; `--tiny` runs everything once, for a test."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[640, 1280])
    parser.add_argument("--policies", nargs="+", default=list(POLICIES), choices=list(POLICIES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--batches", type=int, default=40, help="of 16 images, in each round: many more than are read ahead"
    )
    parser.add_argument("--tiny", action="store_true", help="S1 and S4 at 64 px, one round of one batch")
    args = parser.parse_args()
    if args.tiny:
        args.sizes, args.policies, args.rounds, args.batches = [64], ["s1", "s4"], 1, 1
    return args


def on_disk(folder: pathlib.Path) -> Source:
    """Write the photographs as files, which are read again for every image."""
    source = photographs()
    paths = [folder / f"{image_id}.jpg" for image_id in source.image_ids]
    for index, path in enumerate(paths):
        path.write_bytes(source.read_encoded(index))
    return Source(
        name="files",
        categories=(),
        image_ids=source.image_ids,
        read_labels=source.read_labels,
        read_encoded=lambda index: paths[index].read_bytes(),
        read_image=lambda index: decode_image(paths[index].read_bytes(), paths[index].name),
    )


def normalized_on_host(augment: Augment) -> Augment:
    """Normalise what a policy returns, as the host did: float32, zero where padded."""

    def apply(tensors: dict[str, Any], seed: tf.Tensor) -> dict[str, Any]:
        found = augment(tensors, seed)
        height, width = tf.unstack(found["covered_px"])
        size_px = found["image"].shape[0]
        rows = tf.cast(tf.reshape(found["image"][:height, :width], [height, width * 3]), tf.float32)
        window = rows * tf.tile(SCALE, [width]) - tf.tile(SHIFT, [width])
        window = tf.pad(
            tf.reshape(window, [height, width, 3]), [[0, size_px - height], [0, size_px - width], [0, 0]]
        )
        return {**found, "image": tf.ensure_shape(window, [size_px, size_px, 3])}

    return apply


def streams_from_disk(source: Source, augment: Augment) -> list[ExampleStream]:
    """Return the human and the pseudo half."""
    make = functools.partial(
        make_examples, source, box_targets(MAX_BOXES), augment=augment, batch_size=BATCH_SIZE // 2
    )
    return [make(seed=0), make(seed=500, is_pseudo=True)]


def streams_of_ready_images(size_px: int, dtype: Any) -> list[ExampleStream]:
    """Return two halves of images that cost nothing to make."""
    image = tf.cast(tf.random.stateless_uniform([size_px, size_px, 3], [0, 1], 0, 256, tf.int32), dtype)
    boxes = tf.zeros([NUM_BOXES, 4])
    targets = box_targets(MAX_BOXES).to_targets(
        {
            "boxes": boxes,
            "classes": tf.ones([NUM_BOXES], tf.int32),
            "is_ignore": tf.zeros([NUM_BOXES], tf.bool),
        }
    )
    made = {
        "image": image,
        "covered_px": tf.constant([size_px] * 2),
        "targets": targets,
        "index": tf.constant(0, tf.int64),
    }
    examples = tf.data.Dataset.from_tensors(made).cache().repeat()
    return [
        ExampleStream(("ready",), BATCH_SIZE // 2, is_pseudo, Reading(), lambda step, failures: examples)
        for is_pseudo in (False, True)
    ]


def as_now(streams: list[ExampleStream]) -> Iterator[Batch]:
    """Interleave in the pipeline; place in the thread that reads ahead."""
    place = functools.partial(shard_batch, make_mesh())
    batches = batch_examples(streams, [0, 1] * (BATCH_SIZE // 2), place=place)
    with contextlib.closing(batches(0)) as stream:
        for batch, _ in stream:
            yield batch


def as_before(streams: list[ExampleStream]) -> Iterator[Batch]:
    """Batch each half, join them by concatenating and indexing, place in the thread that trains."""
    mesh = make_mesh()
    order = np.arange(BATCH_SIZE).reshape(2, -1).T.ravel()

    def join(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.concatenate([first, second])[order]

    halves: list[BatchStream] = [batch_examples([stream], [0] * stream.batch_size)(0) for stream in streams]
    with contextlib.closing(halves[0]) as human, contextlib.closing(halves[1]) as pseudo:
        for (human_half, _), (pseudo_half, _) in zip(human, pseudo, strict=True):
            yield shard_batch(mesh, jax.tree.map(join, human_half, pseudo_half))


def measure(
    contenders: dict[str, Callable[[], Iterator[Batch]]], rounds: int, batches: int
) -> dict[str, np.ndarray]:
    """Return images a second by the clock and of CPU, [rounds, 2], of all contenders in turn."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, open_stream in contenders.items():
            with contextlib.closing(open_stream()) as stream:  # type: ignore[type-var]
                for _ in range(3):  # compiling, and what is made ahead
                    jax.block_until_ready(next(stream).images)
                start, start_cpu = time.perf_counter(), time.process_time()
                for _ in range(batches):
                    jax.block_until_ready(next(stream).images)
                secs, cpu_secs = time.perf_counter() - start, time.process_time() - start_cpu
            found[name].append((batches * BATCH_SIZE / secs, batches * BATCH_SIZE / cpu_secs))
    return {name: np.array(rates) for name, rates in found.items()}


def print_table(title: str, found: dict[str, np.ndarray]) -> None:
    """Print medians and spreads."""
    print(f"\n{title}\n{'':24}{'images/s by the clock':>28}{'images/s of CPU':>28}")
    for name, rates in found.items():
        cells = [
            f"{np.median(column):,.0f} ({column.min():,.0f} to {column.max():,.0f})" for column in rates.T
        ]
        print(f"{name:24}{cells[0]:>28}{cells[1]:>28}", flush=True)


def main() -> None:
    """Print both tables for each size."""
    args = parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {args.rounds} rounds")
    with tempfile.TemporaryDirectory() as folder:
        source = on_disk(pathlib.Path(folder))
        for size_px in args.sizes:
            contenders: dict[str, Callable[[], Iterator[Batch]]] = {}
            for policy in args.policies:
                augment = augment_policy(policy, output_size_px=size_px)
                now = streams_from_disk(source, augment)
                before = streams_from_disk(source, normalized_on_host(augment))
                contenders[f"{policy.upper()} bytes"] = functools.partial(as_now, now)
                contenders[f"{policy.upper()} float32"] = functools.partial(as_before, before)
            print_table(f"{size_px} px, from disk to device", measure(contenders, args.rounds, args.batches))
            contenders = {
                "bytes": functools.partial(as_now, streams_of_ready_images(size_px, tf.uint8)),
                "float32": functools.partial(as_before, streams_of_ready_images(size_px, tf.float32)),
            }
            found = measure(contenders, args.rounds, 5 * args.batches)
            print_table(f"{size_px} px, the single-threaded part alone", found)


if __name__ == "__main__":
    main()
