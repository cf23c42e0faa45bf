"""Records of pseudo masks: how fast they are encoded, in one thread and in all, and their images read.

python -m tests.benchmarks.records [--images=160] [--rounds=5]
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from selftrain_jax.data.records import decode_record, encode_record, read_encoded
from selftrain_jax.data.source import encode_png

HEIGHT, WIDTH = 375, 500  # VOC's usual image
NUM_CLASSES = 21


def make_example(seed: int) -> dict:
    """A class map of blobs, as networks make them, with a confidence that is smooth but for its last bits."""
    rng = np.random.default_rng(seed)

    def blobs(side_px: int, high: int) -> np.ndarray:
        cells = rng.integers(0, high, (-(-HEIGHT // side_px), -(-WIDTH // side_px)))
        return np.kron(cells, np.ones((side_px, side_px), int))[:HEIGHT, :WIDTH]

    noise = rng.integers(0, 8, (HEIGHT, WIDTH))
    confidence = np.clip(blobs(5, 248) + noise, 0, 255).astype(np.uint8)
    return {
        "image_id": str(seed),
        "mask": blobs(15, NUM_CLASSES).astype(np.uint8),
        "confidence": confidence,
        "is_pseudo": True,
    }


def rate(work: Callable[[], object], count: int) -> float:
    """Return how many a second."""
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)


def main() -> None:
    """Measure the ways in turn, round by round; print the median of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=160)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    image = encode_png(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    examples = [make_example(seed % 8) for seed in range(options.images)]

    def encode(example: dict) -> bytes:
        return encode_record(example, image, HEIGHT, WIDTH)

    records = [encode(example) for example in examples]  # imports TensorFlow, too
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        ways: dict[str, Callable[[], object]] = {
            "encoded in one thread": lambda: [encode(example) for example in examples],
            f"encoded in {os.cpu_count()} threads": lambda: list(pool.map(encode, examples)),
            "image read, maps decoded": lambda: [decode_record(record)[1] for record in records],
            "image read alone": lambda: [read_encoded(record) for record in records],
        }
        found: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(options.rounds):
            for way, work in ways.items():
                found[way].append(rate(work, options.images))
    for way, rates in found.items():
        print(f"{way}: {statistics.median(rates):,.0f} a second ({min(rates):,.0f} to {max(rates):,.0f})")


if __name__ == "__main__":
    main()
