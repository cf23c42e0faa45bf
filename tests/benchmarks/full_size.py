"""A run's start at ImageNet's size: seconds and peak memory of what every host does before the first step.

python -m tests.benchmarks.full_size [--records=100000,1000000] [--human=118000]

Label sets of so many images with 5.5 boxes on the mean, and no pixels, are written to a temporary folder.
Each row is a process of its own, for its peak memory (VmHWM of Linux); "imports" is what a row begins with.
"""

import argparse
import itertools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from selftrain_jax.data.records import encode_record
from selftrain_jax.data.sampling import example_index
from selftrain_jax.data.shards import write_shard
from selftrain_jax.data.source import Source
from selftrain_jax.io import write_json
from selftrain_jax.run_files.manifest import MANIFEST_FILE, Manifest
from selftrain_jax.run_files.shard_index import index_path
from selftrain_jax.selftrain.checks import SourceThresholds
from selftrain_jax.selftrain.inference import chunks_in_order
from selftrain_jax.selftrain.labeller import Labeller
from selftrain_jax.selftrain.manifest import IMAGE_IDS_FILE, read_manifest
from selftrain_jax.selftrain.shard_index import Counting, Tally, count_with
from selftrain_jax.selftrain.source_counts import count_labels
from selftrain_jax.selftrain.write_shards import shard_paths
from selftrain_jax.stages.inputs import labels_digest
from selftrain_jax.tasks.detection.data import class_counts
from selftrain_jax.tasks.detection.pseudo.labeller import box_totals, count_boxes
from selftrain_jax.tasks.detection.pseudo.source import check_pseudo_boxes, read_pseudo_boxes
from selftrain_jax.tasks.detection.run_files import BoxSettings, BoxTotals
from selftrain_jax.text import FIRST_SOURCE
from selftrain_jax.types import Category, Example

CATEGORIES = tuple(Category(id, f"class {id}") for id in range(1, 81))
IMAGES_PER_SHARD, NUM_TEMPLATES, BATCH_SIZE, NUM_STEPS = 1024, 64, 512, 20
THRESHOLDS = {FIRST_SOURCE: SourceThresholds(0.5, {})}


def make_labels(rng: np.random.Generator, image_id: str) -> Example:
    """Draw boxes, 5.5 on the mean, with scores from the floor on."""
    count = rng.poisson(5.5)
    corners = rng.uniform(0, 200, (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(10, 200, (count, 2))], axis=1)
    return {
        "image_id": image_id,
        "boxes": boxes.astype(np.float32),
        "classes": rng.integers(1, 81, count).astype(np.int32),
        "scores": rng.uniform(0.05, 1, count).astype(np.float32),
        "is_pseudo": True,
    }


def counting() -> Counting:
    """Count boxes as the label job does."""
    settings = BoxSettings(score_floor=0.05)
    nobody = chunks_in_order(0, 1)
    labeller = Labeller(lambda _: iter(nobody), 1, settings, BoxTotals, count_boxes, box_totals)  # type: ignore
    return count_with(labeller, CATEGORIES, THRESHOLDS)


def write_folder(directory: pathlib.Path, num_records: int) -> None:
    """Write shards, indexes and manifest; the boxes of a few images return again and again."""
    counted, rng = counting(), np.random.default_rng(0)
    labels = [make_labels(rng, f"template {number}") for number in range(NUM_TEMPLATES)]
    templates = [(encode_record(own, b"x", 400, 400), counted.of_image(own)) for own in labels]
    paths = shard_paths(directory, num_records, IMAGES_PER_SHARD)
    for shard, path in enumerate(paths):
        tally, begin = Tally(counted), shard * IMAGES_PER_SHARD
        numbers = range(begin, min(begin + IMAGES_PER_SHARD, num_records))

        def records(tally: Tally = tally, numbers: range = numbers) -> Iterator[bytes]:
            for number in numbers:
                record, counts = templates[number % NUM_TEMPLATES]
                tally.add(counts._replace(image_id=f"ILSVRC2012_train_{number:08d}.JPEG"))
                yield record

        written = write_shard(path, records())
        write_json(index_path(path), tally.index(written).to_json())
    write_manifest(directory, paths)


def write_manifest(directory: pathlib.Path, paths: list[pathlib.Path]) -> None:
    """Sum the indexes up, as host 0 does when all shards are written."""
    counted = count_labels(paths, counting(), CATEGORIES, BoxSettings(score_floor=0.05))
    manifest = Manifest(
        provenance={},
        source="empty images",
        threshold=0.5,
        seconds=0.0,
        num_images=len(counted.image_ids),
        num_bad_images=0,
        bad_images=(),
        labels=counted.labels,
        categories=CATEGORIES,
        shards=counted.shards,
        per_class_thresholds={},
    )
    write_json(directory / IMAGE_IDS_FILE, counted.image_ids)
    write_json(directory / MANIFEST_FILE, manifest.to_json())


def make_human(num_images: int) -> Source:
    """Human labels in memory, as the reader of COCO files has them."""
    rng = np.random.default_rng(1)
    templates = [make_labels(rng, str(number)) for number in range(NUM_TEMPLATES)]
    ids = tuple(f"{number:012d}.jpg" for number in range(num_images))
    return Source(
        name="human",
        categories=CATEGORIES,
        image_ids=ids,
        read_labels=lambda index: {**templates[index % NUM_TEMPLATES], "image_id": ids[index]},
        read_encoded=lambda index: b"",
        read_image=lambda index: np.zeros((1, 1, 3), np.uint8),
    )


def finish(directory: pathlib.Path, _: int) -> None:
    """The manifest, when the last shard is written."""
    write_manifest(directory, sorted(directory.glob("*.tfrecord")))


def open_labels(directory: pathlib.Path, _: int) -> Source:
    """A student's labels, checked and opened."""
    manifest = read_manifest(directory, BoxTotals)
    for _warning in check_pseudo_boxes(manifest, human_categories=CATEGORIES):
        pass
    return read_pseudo_boxes(directory)


def order_images(directory: pathlib.Path, _: int) -> None:
    """Which images the first steps see."""
    num_images = read_manifest(directory, BoxTotals).num_images
    for position in range(NUM_STEPS * BATCH_SIZE):
        example_index(position, num_images, 0)


def count_human_labels(_: pathlib.Path, human: int) -> None:
    """Digest and class counts of the human labels, on host 0."""
    source = make_human(human)
    labels_digest(source)
    class_counts(source)


def nothing(_: pathlib.Path, __: int) -> None:
    """Imports alone."""


ROWS: dict[str, Callable[[pathlib.Path, int], object]] = {
    "imports": nothing,
    "manifest of finished shards (host 0)": finish,
    "student's labels checked and opened": open_labels,
    f"order of the first {NUM_STEPS} steps of {BATCH_SIZE}": order_images,
    "digest and counts of human labels (host 0)": count_human_labels,
}


def peak_mib() -> float:
    """Return the most memory that this process has held."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    (peak_kib,) = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    return peak_kib / 1024


def measure(row: str, directory: pathlib.Path, human: int) -> tuple[float, float]:
    """Return seconds and peak MiB of a row, in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.full_size", f"--row={row}", f"--human={human}"]
    ended = subprocess.run([*command, f"--folder={directory}"], capture_output=True, text=True, check=True)
    seconds, mib = json.loads(ended.stdout.splitlines()[-1])
    return seconds, mib


def main() -> None:
    """Print a table, or do one row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--records", default="100000,1000000")
    parser.add_argument("--human", type=int, default=118_000)
    parser.add_argument("--row", choices=ROWS)
    parser.add_argument("--folder", type=pathlib.Path)
    options = parser.parse_args()
    if options.row:
        started = time.perf_counter()
        ROWS[options.row](options.folder, options.human)
        seconds = time.perf_counter() - started
        return print(json.dumps([seconds, peak_mib()]))
    sizes = [int(word) for word in options.records.split(",")]
    for size, row in itertools.product(sizes, [None, *ROWS]):
        if row is None:
            folder = tempfile.TemporaryDirectory()
            started = time.perf_counter()
            write_folder(pathlib.Path(folder.name), size)
            print(f"{size:,} records, made in {time.perf_counter() - started:.0f} s", flush=True)
            continue
        seconds, mib = measure(row, pathlib.Path(folder.name), options.human)
        print(f"  {row}: {seconds:.2f} s, at most {mib:,.0f} MiB", flush=True)
    return None


if __name__ == "__main__":
    main()
