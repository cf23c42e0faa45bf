"""Compares one of our networks with what the official one computes from the same weights.

`python -m selftrain_jax.pretrain.parity --network=NAME --golden=FILE.json` makes weights under the official
names (`golden.py`), imports them, runs in float32 and prints the error of each output.
"""

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from selftrain_jax.errors import InputError
from selftrain_jax.pretrain.golden import (
    GoldenArrays,
    GoldenOutput,
    check_shapes,
    difference,
    golden_image,
    read_golden,
    size_and_gain,
)
from selftrain_jax.pretrain.import_variables import file_shapes, import_variables
from selftrain_jax.pretrain.official_networks import make_network, named_outputs, variable_shapes
from selftrain_jax.pretrain.tf_names import tf_names
from selftrain_jax.types import Variables

TOLERANCE = 1e-4  # standard deviations of the golden output


def golden_variables(name: str, shapes: Variables, gain: float) -> Variables:
    """Make an official network's weights under the official names and import them.

    Raises:
        InputError: the names do not cover our variables.
    """
    names = tf_names(name)
    arrays = GoldenArrays(file_shapes(shapes, names), gain)
    return import_variables(shapes, arrays, names, source=f"The official {name}")[0]


def compute_outputs(name: str, golden: dict[str, GoldenOutput], path: Path) -> dict[str, np.ndarray]:
    """Return those of the network's outputs that are in the golden file.

    Raises:
        InputError: the network is unknown, or the file has outputs that the network does not have.
    """
    size_px, gain = size_and_gain(path)
    network = make_network(name)
    shapes = variable_shapes(network, size_px)

    def run(variables: Variables, images: jax.Array) -> dict[str, jax.Array]:
        outputs = named_outputs(network, variables, images)
        return {key: x for key, x in outputs.items() if key in golden}

    image = golden_image(size_px)
    outputs = jax.eval_shape(functools.partial(named_outputs, network), shapes, image)
    check_shapes({key: x.shape for key, x in outputs.items()}, golden, path.name)
    with jax.default_matmul_precision("highest"):
        return jax.device_get(jax.jit(run)(golden_variables(name, shapes, gain), image))


def compare(name: str, path: Path) -> bool:
    """Print each output's error; return whether all are within the tolerance.

    Raises:
        InputError: the network is unknown, or the file is malformed or of another network.
    """
    golden = read_golden(path)
    outputs = compute_outputs(name, golden, path)
    differences = {key: difference(outputs[key], golden[key]) for key in golden}
    print(f"{'output':<12} {'max |error| / std':>18} {'of mean, std, absmax':>21}")
    for key, error in differences.items():
        verdict = "  too large" if error.exceeds(TOLERANCE) else ""
        print(f"{key:<12} {error.values:>18.1e} {error.moments:>21.1e}{verdict}")
    wrong = [key for key, error in differences.items() if error.exceeds(TOLERANCE)]
    print(f"{name}: {len(golden) - len(wrong)} of {len(golden)} outputs within {TOLERANCE:g}")
    return not wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if the networks agree, 1 if they do not, 2 after a user's mistake."""
    parser = argparse.ArgumentParser(prog="selftrain_jax.pretrain.parity", description=__doc__.split("\n")[0])
    parser.add_argument("--network", required=True, help="an official network, such as efficientnet-b0")
    parser.add_argument("--golden", required=True, type=Path, help="NETWORK_SIZE[_gainX].json")
    options = parser.parse_args(arguments)
    try:
        return 0 if compare(options.network, options.golden) else 1
    except InputError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
