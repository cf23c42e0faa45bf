"""Where a training image's time on the host goes: python -m tests.benchmarks.pipeline_parts [SIZE_PX]

One 640 x 480 JPEG through each part alone, on one thread: reading and decoding, what every policy does
(flip, resize and crop at a few scales, with rounding and padding), and each operation of the policies.
CPU milliseconds of the calling thread's process, as median (least) of the rounds, longest first.
"""

import os
import sys
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from selftrain_jax.augment.geometry import flip_horizontal
from selftrain_jax.augment.operations import BOX_ONLY_OPERATIONS, OPERATIONS, apply_operation
from selftrain_jax.augment.resize import resize_and_crop
from tests.benchmarks.input_pipeline import photographs

ROUNDS, LEVEL = 15, 10
SCALES = (0.5, 1.0, 1.2, 2.0)


def milliseconds(call: Callable[[], object]) -> tuple[float, float]:
    """Return median and least CPU milliseconds of a call, after one that does not count."""
    call()
    found = []
    for _ in range(ROUNDS):
        start = time.process_time()
        call()
        found.append(1000 * (time.process_time() - start))
    return float(np.median(found)), min(found)


def parts(size_px: int) -> dict[str, Callable[[], object]]:
    """Name the parts."""
    source = photographs()
    example = source.read(0)
    tensors = {"image": tf.constant(example["image"]), "boxes": tf.constant(example["boxes"])}
    seed = tf.constant([1, 2], tf.int64)

    def graph(function: Callable[[dict[str, tf.Tensor]], object]) -> Callable[[], object]:
        compiled = tf.function(function)
        return lambda: compiled(tensors)

    def resize(scale: float) -> Callable[[dict[str, tf.Tensor]], object]:
        middle = tf.constant([0.5, 0.5])
        return lambda x: resize_and_crop(x, output_size_px=size_px, jitter=scale, crop_yx_frac=middle)

    def operation(name: str) -> Callable[[], object]:
        chance = 3.0 if name in BOX_ONLY_OPERATIONS else 1.0  # of which each box has a third
        return graph(lambda x: apply_operation(x, name, level=LEVEL, probability=chance, seed=seed))

    return {
        "read and decode": lambda: source.read(0),
        "flip": graph(flip_horizontal),
        **{f"resize, crop, round, pad: scale {scale}": graph(resize(scale)) for scale in SCALES},
        **{name: operation(name) for name in [*OPERATIONS, *BOX_ONLY_OPERATIONS]},
    }


def main() -> None:
    """Print the table."""
    size_px = int(sys.argv[1]) if len(sys.argv) > 1 else 640
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    rows = {name: milliseconds(call) for name, call in parts(size_px).items()}
    print(f"{size_px} px, load {os.getloadavg()[0]:.1f}, {ROUNDS} rounds; CPU ms: median (least)")
    for name, (median, least) in sorted(rows.items(), key=lambda row: -row[1][0]):
        print(f"{name:48}{median:8.2f} ({least:.2f})")


if __name__ == "__main__":
    main()
