"""Whether mIoU slows down with the number of images: python -m tests.benchmarks.streaming_miou [IMAGES]

Counts random masks of 512 x 512 px and 21 classes, as VOC's are, into one confusion matrix. Prints for
each tenth of the images the milliseconds an image takes, as median (least to greatest), what mIoU of all so
far takes beyond, and the most memory that the process has held.
"""

import resource
import sys
import time

import numpy as np

from selftrain_jax.geometry import confusion_matrix, mean_iou
from selftrain_jax.types import IGNORED

NUM_CLASSES, SIZE_PX, POOL = 21, 512, 16


def draw_pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Truth with a tenth of its pixels ignored, and a prediction that is right for half of them."""
    truth, guess = rng.integers(NUM_CLASSES, size=(2, SIZE_PX, SIZE_PX), dtype=np.uint8)
    found = np.where(rng.random(truth.shape) < 0.5, truth, guess)
    return np.where(rng.random(truth.shape) < 0.1, np.uint8(IGNORED), truth), found


def main() -> None:
    """Print the table."""
    num_images = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    rng = np.random.default_rng(0)
    pairs = [draw_pair(rng) for _ in range(POOL)]
    total = np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64)
    print(f"{'images':>8}{'ms an image':>26}{'mIoU of all, ms':>18}{'most memory, MiB':>18}")
    for tenth in range(10):
        laps = []
        for index in range(num_images // 10):
            start = time.perf_counter()
            total += confusion_matrix(*pairs[index % POOL], NUM_CLASSES)
            laps.append(1e3 * (time.perf_counter() - start))
        start = time.perf_counter()
        mean_iou(total)
        summed_ms = 1e3 * (time.perf_counter() - start)
        lap_text = f"{np.median(laps):.2f} ({min(laps):.2f} to {max(laps):.2f})"
        held_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        counted = (tenth + 1) * (num_images // 10)
        print(f"{counted:8}{lap_text:>26}{summed_ms:18.3f}{held_mib:18.0f}", flush=True)


if __name__ == "__main__":
    main()
