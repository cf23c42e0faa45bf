"""How fast the host makes training images, S1 to S4: python -m tests.benchmarks.input_pipeline [SIZE_PX]

Reads 640 x 480 JPEGs that it writes itself from scikit-image's photographs, through the pipeline of
training (read, decode, augment, pad, batch). Policies take turns in each round, so that what else the
machine does falls on all of them; the table gives median and spread (least to greatest) over rounds.
"""

import io
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from PIL import Image
from skimage import data

from selftrain_jax.augment.policies import augment_policy
from selftrain_jax.data.pipeline import make_batches
from selftrain_jax.data.source import Source, decode_image
from selftrain_jax.tasks.detection.targets import box_targets

POLICIES = ("s1", "s2", "s3", "s4")
ROUNDS, BATCHES, BATCH_SIZE, NUM_BOXES = 5, 6, 16, 12


def photographs(num_images: int = 8) -> Source:
    """JPEGs of 640 x 480, the same four again and again, with a dozen boxes each."""
    encoded = []
    for pixels in (data.astronaut(), data.coffee(), data.chelsea(), data.rocket()):
        buffer = io.BytesIO()
        Image.fromarray(pixels).resize((640, 480)).save(buffer, "JPEG", quality=90)
        encoded.append(buffer.getvalue())
    corners = np.random.default_rng(0).uniform(0, 400, (NUM_BOXES, 2)).astype(np.float32)
    boxes = np.concatenate([corners, corners + 60], axis=1)
    labels = {"boxes": boxes, "classes": np.ones(NUM_BOXES, np.int32)}
    ids = tuple(map(str, range(num_images)))
    return Source(
        name="photographs",
        categories=(),
        image_ids=ids,
        read_labels=lambda index: {"image_id": ids[index], **labels},
        read_encoded=lambda index: encoded[index % len(encoded)],
        read_image=lambda index: decode_image(encoded[index % len(encoded)], ids[index]),
    )


def main() -> None:
    """Print images a second a core for each policy."""
    size_px = int(sys.argv[1]) if len(sys.argv) > 1 else 640
    source, streams = photographs(), {}
    for policy in POLICIES:
        augment = augment_policy(policy, output_size_px=size_px)
        batches = make_batches(source, box_targets(100), augment=augment, batch_size=BATCH_SIZE, seed=0)
        streams[policy] = batches(0)
        next(streams[policy])
    wall: dict[str, list[float]] = {policy: [] for policy in POLICIES}
    cpu: dict[str, list[float]] = {policy: [] for policy in POLICIES}
    for _ in range(ROUNDS):
        for policy, stream in streams.items():
            for _ in range(2):  # what was made ahead of time does not count
                next(stream)
            start, start_cpu = time.perf_counter(), time.process_time()
            for _ in range(BATCHES):
                next(stream)
            wall[policy].append(BATCHES * BATCH_SIZE / (time.perf_counter() - start))
            cpu[policy].append(BATCHES * BATCH_SIZE / (time.process_time() - start_cpu))
    print(f"{size_px} px, {os.cpu_count()} cores, {ROUNDS} rounds of {BATCHES * BATCH_SIZE} images")
    print(f"{'policy':8} {'images/s':>9} {'spread':>15} {'images/s a core':>16} {'spread':>15}")
    for policy in POLICIES:
        row = [policy.upper()]
        for rates in (wall[policy], cpu[policy]):
            row += [f"{np.median(rates):.0f}", f"{min(rates):.0f} to {max(rates):.0f}"]
        print(f"{row[0]:8} {row[1]:>9} {row[2]:>15} {row[3]:>16} {row[4]:>15}")


if __name__ == "__main__":
    main()
