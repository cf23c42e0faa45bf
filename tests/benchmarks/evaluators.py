"""COCO's numbers by both evaluators in one run: python -m tests.benchmarks.evaluators [NUM_IMAGES]

5,000 images of 7 true boxes and 100 detections each over 80 classes, as many as val2017's. The two take
turns; each call is `evaluate_detections` whole, from arrays to the twelve numbers, which are compared.
"""

import os
import sys
import time

import numpy as np

from selftrain_jax.detection.coco_eval import STATS, ImageDetections, evaluate_detections
from selftrain_jax.types import Category, Example

BACKENDS = ("pycocotools", "faster_coco_eval")
NUM_CLASSES, NUM_TRUE, NUM_FOUND, SIZE_PX, ROUNDS = 80, 7, 100, 640, 3


def draw_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Boxes [count, 4] yxyx from a few pixels to half of the image."""
    sides = np.exp(rng.uniform(np.log(8), np.log(SIZE_PX / 2), (count, 2)))
    corners = rng.uniform(0, SIZE_PX - sides)
    return np.concatenate([corners, corners + sides], axis=1).astype(np.float32)


def draw_image(rng: np.random.Generator, image_id: str) -> tuple[Example, ImageDetections]:
    """An image's truth and what a detector might find: each object a few times over, and mistakes."""
    boxes, classes = draw_boxes(rng, NUM_TRUE), rng.integers(1, NUM_CLASSES + 1, NUM_TRUE)
    which = rng.integers(NUM_TRUE, size=NUM_FOUND // 2)
    near = boxes[which] + rng.normal(0, 6, (len(which), 4))
    near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 2)
    found = np.concatenate([near, draw_boxes(rng, NUM_FOUND - len(near))]).astype(np.float32)
    found_classes = np.append(classes[which], rng.integers(1, NUM_CLASSES + 1, NUM_FOUND - len(which)))
    truth = {"image_id": image_id, "boxes": boxes, "classes": classes.astype(np.int32)}
    return truth, ImageDetections(image_id, found, rng.uniform(size=NUM_FOUND), found_classes)


def main() -> None:
    """Print seconds, the ratio with its spread, and the greatest difference of the numbers."""
    num_images = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    rng = np.random.default_rng(0)
    truth, found = zip(*(draw_image(rng, str(i)) for i in range(num_images)), strict=True)
    categories = [Category(i, f"class {i}") for i in range(1, NUM_CLASSES + 1)]
    seconds, stats = np.zeros((ROUNDS, 2)), np.zeros((2, len(STATS)))
    for turn in range(ROUNDS):
        for place, backend in enumerate(BACKENDS):
            start = time.perf_counter()
            result = evaluate_detections(truth, found, categories, backend=backend)
            seconds[turn, place] = time.perf_counter() - start
            stats[place] = [result[name] for name in STATS]
    print(
        f"{num_images} images x {NUM_FOUND} detections, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    for place, backend in enumerate(BACKENDS):
        column = seconds[:, place]
        print(f"{backend:18} {np.median(column):6.1f} s ({column.min():.1f} to {column.max():.1f})")
    ratio = seconds[:, 0] / seconds[:, 1]
    print(f"ratio {np.median(ratio):.1f} ({ratio.min():.1f} to {ratio.max():.1f})")
    print(f"greatest difference of the twelve numbers: {np.abs(stats[0] - stats[1]).max():.1e}")


if __name__ == "__main__":
    main()
