"""What a run will write: checkpoints by the size of the state, label shards by a sample of the images."""

import math
import shutil
from collections.abc import Callable
from pathlib import Path

from selftrain_jax.data.source import Source, image_size
from selftrain_jax.errors import InputError
from selftrain_jax.plan.memory import num_bytes
from selftrain_jax.train.state import TrainState, to_items

SAMPLE = 32  # images that are read


def count_checkpoint_bytes(state: TrainState) -> int:
    """Return the size of a checkpoint, uncompressed, for the shapes of a state."""
    return num_bytes(to_items(state))


def count_checkpoints(num_steps: int, every: int, keep: int, *, has_best: bool) -> int:
    """Count the checkpoints that a stage holds at most: the last, the best and the one being written."""
    written = math.ceil(num_steps / every) if every else 1
    return min(written, keep + has_best + 1)


def estimate_shard_bytes(source: Source, label_bytes: Callable[[tuple[int, int]], float]) -> int:
    """Estimate the size of all label shards of a source: they copy its images, encoded as they are.

    `label_bytes` estimates the labels of an image of (height, width). `SAMPLE` images, evenly spaced, are
    read; those that cannot be are left out.
    """
    sizes = []
    num = min(SAMPLE, len(source))
    for index in (position * len(source) // num for position in range(num)):
        try:
            encoded = source.read_encoded(index)
            sizes.append(len(encoded) + label_bytes(image_size(encoded, source.image_ids[index])))
        except InputError:
            continue
    return round(len(source) * sum(sizes) / len(sizes)) if sizes else 0


def free_bytes(folder: Path) -> tuple[int, Path]:
    """Return the free bytes of the disk that a folder is or would be on, and the folder that was asked."""
    found = folder.absolute()
    while not found.exists():
        found = found.parent
    return shutil.disk_usage(found).free, found
