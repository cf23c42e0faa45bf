"""A network's weights for any framework, as safetensors; call `write_weights`."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from selftrain_jax.named_arrays import arrays_by_name
from selftrain_jax.types import Variables

FILE = "weights.safetensors"


def write_weights(variables: Variables, folder: Path, metadata: Mapping[str, str]) -> Path:
    """Write all arrays by their names in a checkpoint, as params/backbone/stem/kernel: kernels are HWIO."""
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays_by_name(variables).items()}
    path = folder / FILE
    save_file(arrays, path, metadata=dict(metadata))
    return path


def count_differing(variables: Variables, path: Path) -> int:
    """Count the arrays of a file that are not those of the network, bit for bit."""
    stored, own = load_file(path), arrays_by_name(variables)
    differing = [name for name in own if name in stored and not np.array_equal(stored[name], own[name])]
    return len(differing) + len(stored.keys() ^ own.keys())
