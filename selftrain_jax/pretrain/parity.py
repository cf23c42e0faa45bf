"""Compares a network of ours with what the official one computes from the same weights.

`python -m selftrain_jax.pretrain.parity --network=NAME --golden=FILE.json` makes the weights by the rule
of `golden.py` under the official names, imports them, runs in float32 and prints each output's error.
"""

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from selftrain_jax.errors import InputError
from selftrain_jax.pretrain.golden import GoldenArrays, golden_image
from selftrain_jax.pretrain.golden_file import (
    GoldenOutput,
    check_shapes,
    difference,
    read_golden,
    size_and_gain,
)
from selftrain_jax.pretrain.import_variables import file_shapes, import_variables
from selftrain_jax.pretrain.official_networks import Network, make_network, named_outputs
from selftrain_jax.pretrain.tf_names import tf_names
from selftrain_jax.types import Variables

TOLERANCE = 1e-4  # standard deviations of the golden output


def variable_shapes(network: Network, size_px: int) -> Variables:
    """Return the shapes of a network's variables without making them."""
    image = jax.ShapeDtypeStruct((1, size_px, size_px, 3), jnp.float32)
    return jax.eval_shape(functools.partial(network.init, train=False), jax.random.key(0), image)


def golden_variables(name: str, shapes: Variables, gain: float) -> Variables:
    """Make an official network's weights under its own names and import them.

    Raises:
        InputError: its names do not fill our variables.
    """
    names = tf_names(name)
    arrays = GoldenArrays(file_shapes(shapes, names), gain)
    return import_variables(shapes, arrays, names, source=f"The official {name}")[0]


def compute_outputs(name: str, golden: dict[str, GoldenOutput], path: Path) -> dict[str, np.ndarray]:
    """Return the network's outputs that the golden file has.

    Raises:
        InputError: the network is unknown, or its outputs are not those of the file.
    """
    size_px, gain = size_and_gain(path)
    network = make_network(name)
    shapes = variable_shapes(network, size_px)

    def run(variables: Variables, images: jax.Array) -> dict[str, jax.Array]:
        outputs = named_outputs(network, variables, images)
        return {key: x for key, x in outputs.items() if key in golden}

    image = golden_image(size_px)
    found = jax.eval_shape(functools.partial(named_outputs, network), shapes, image)
    check_shapes({key: x.shape for key, x in found.items()}, golden, path.name)
    with jax.default_matmul_precision("highest"):
        return jax.device_get(jax.jit(run)(golden_variables(name, shapes, gain), image))


def compare(name: str, path: Path) -> bool:
    """Print each output's error; return whether all are within the tolerance.

    Raises:
        InputError: the network is unknown, or the file does not fit it or its own form.
    """
    golden = read_golden(path)
    outputs = compute_outputs(name, golden, path)
    differences = {key: difference(outputs[key], golden[key]) for key in golden}
    print(f"{'output':<12} {'max |error| / std':>18} {'of mean, std, absmax':>21}")
    for key, found in differences.items():
        verdict = "  too large" if found.exceeds(TOLERANCE) else ""
        print(f"{key:<12} {found.values:>18.1e} {found.moments:>21.1e}{verdict}")
    wrong = [key for key, found in differences.items() if found.exceeds(TOLERANCE)]
    print(f"{name}: {len(golden) - len(wrong)} of {len(golden)} outputs within {TOLERANCE:g}")
    return not wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 where the networks agree, 1 where they do not, 2 for a mistake of the user's."""
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
