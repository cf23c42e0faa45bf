"""Folders of classified images, drawn for tests."""

import pathlib

import numpy as np

from selftrain_jax.data.source import encode_png


def write_class_folder(root: pathlib.Path, counts: dict[str, int]) -> pathlib.Path:
    """Write `counts[name]` images a class; the pixels of the n-th class's i-th image are 50 n + i."""
    for number, (name, count) in enumerate(sorted(counts.items())):
        (root / name).mkdir(parents=True)
        for index in range(count):
            image = np.full((12, 16, 3), 50 * number + index, np.uint8)
            (root / name / f"{index}.png").write_bytes(encode_png(image))
    return root
