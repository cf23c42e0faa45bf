"""Golden outputs of the official networks: made inputs and weights, files of outputs, and the comparison.

Any framework can make the weights and the image from a variable's name (`golden_array`, `golden_image`); they
stand in for a published checkpoint. `read_golden` reads what the official network computes from them.
"""

import json
import math
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from selftrain_jax.errors import InputError
from selftrain_jax.io import show
from selftrain_jax.pretrain.import_variables import LazyArrays

MAX_DIMENSIONS = 32
FILE_NAME = re.compile(r".+_(?P<size_px>[1-9]\d*)(_gain(?P<gain>\d+(\.\d+)?))?\.json")


def golden_array(name: str, shape: tuple[int, ...], gain: float = 1.0) -> Float[np.ndarray, "..."]:
    """Make the float32 array of the TensorFlow variable `name`, in TensorFlow's layout.

    The seed is crc32(name) mod 2^31. Means, offsets and biases are 0.1·n with n normal, gamma is 1 + 0.1·n,
    variances are 1 + 0.2·u with u uniform, kernels are gain·n·√(2 / inputs of one output).

    Raises:
        ValueError: the last part of the name is not a kind of variable listed here.
    """
    random = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)
    kind = name.rsplit("/", 1)[-1]
    if kind in ("beta", "bias", "moving_mean"):
        array = 0.1 * random.randn(*shape)
    elif kind == "gamma":
        array = 1 + 0.1 * random.randn(*shape)
    elif kind == "moving_variance":
        array = 1 + 0.2 * random.rand(*shape)
    elif kind in ("kernel", "pointwise_kernel", "depthwise_kernel"):
        num_inputs = math.prod(shape[:2] if kind == "depthwise_kernel" else shape[:-1])
        array = gain * math.sqrt(2 / num_inputs) * random.randn(*shape)
    else:
        raise ValueError(f"There is no rule for a variable named {name}.")
    return array.astype(np.float32)


def golden_image(size_px: int) -> Float[np.ndarray, "1 size_px size_px 3"]:
    """Make the input: uniform in [-2, 2), seed 0."""
    shape = (1, size_px, size_px, 3)
    return np.random.RandomState(0).uniform(-2, 2, shape).astype(np.float32)


class GoldenArrays(LazyArrays):
    """The arrays of many variables by name, each made when it is read."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], gain: float = 1.0) -> None:
        super().__init__(shapes, lambda name: golden_array(name, shapes[name], gain))


class GoldenOutput(NamedTuple):
    """The summary of an output tensor: its moments, and its values at some flattened indices."""

    shape: tuple[int, ...]
    mean: float
    std: float
    absmax: float
    indices: tuple[int, ...]
    values: tuple[float, ...]


class Difference(NamedTuple):
    """Distance from a golden output, in standard deviations of that output."""

    values: float  # the largest
    moments: float  # the largest of mean, std and absmax

    def exceeds(self, tolerance: float) -> bool:
        """Tell whether either is above the tolerance or NaN."""
        return not (self.values <= tolerance and self.moments <= tolerance)


def size_and_gain(path: Path) -> tuple[int, float]:
    """Read the image size (pixels) and the gain of kernels from the name, `NETWORK_SIZE[_gainX].json`.

    Raises:
        InputError: the name does not have this form.
    """
    if not (match := FILE_NAME.fullmatch(path.name)):
        raise InputError(
            f"The golden file's name {path.name} does not say its image size; "
            "name it like efficientnet-b0_224.json or retinanet_r50fpn_256_gain0.5.json."
        )
    return int(match["size_px"]), float(match["gain"] or 1)


def read_golden(path: Path) -> dict[str, GoldenOutput]:
    """Read the outputs by name.

    Raises:
        InputError: the file cannot be read, is not JSON, or an output is incomplete or malformed.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"The golden file {path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"The golden file {path} is not JSON: {error}.") from error
    if not isinstance(content, dict) or not content:
        raise InputError(f"The golden file {path} has no outputs; expected an object of them by name.")
    return {name: parse_output(entry, f"{name} of {path}") for name, entry in content.items()}


def parse_output(entry: object, where: str) -> GoldenOutput:
    """Parse one output.

    Raises:
        InputError: a key is missing, or a value is malformed.
    """
    if not isinstance(entry, dict):
        raise InputError(f"The golden output {where} is {show(entry)}; expected an object.")
    try:
        output = GoldenOutput(
            shape=tuple(int(n) for n in entry["shape"]),
            mean=float(entry["mean"]),
            std=float(entry["std"]),
            absmax=float(entry["absmax"]),
            indices=tuple(int(n) for n in entry["idx"]),
            values=tuple(float(x) for x in entry["vals"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"The golden output {where} lacks one of the lists shape, idx, vals or of the numbers mean, std, "
            f"absmax, or it is malformed ({type(error).__name__}: {error})."
        ) from error
    if len(output.shape) > MAX_DIMENSIONS or not all(0 <= side < 2**31 for side in output.shape):
        raise InputError(f"The golden output {where} has the shape {output.shape[:10]}, which no array has.")
    size = math.prod(output.shape)
    if len(output.indices) != len(output.values) or not all(0 <= i < size for i in output.indices):
        raise InputError(
            f"The golden output {where} has {len(output.values)} vals for {len(output.indices)} idx, which "
            f"begin with {list(output.indices[:5])}; expected one val for each idx, all from 0 to {size - 1}."
        )
    if not (math.isfinite(output.std) and output.std > 0):
        raise InputError(f"The golden output {where} has std {output.std}; expected a finite number above 0.")
    return output


def check_shapes(
    shapes: Mapping[str, tuple[int, ...]], golden: Mapping[str, GoldenOutput], where: str
) -> None:
    """Check that the network has all golden outputs.

    Raises:
        InputError: one is missing or has another shape.
    """
    for name, output in golden.items():
        if name not in shapes:
            raise InputError(f"{where} has an output {name!r}; the network has {', '.join(shapes)}.")
        if shapes[name] != output.shape:
            raise InputError(
                f"{where} gives {name} the shape {list(output.shape)}; the network's is "
                f"{list(shapes[name])}. Is it the same network and image size?"
            )


def difference(array: np.ndarray, golden: GoldenOutput) -> Difference:
    """Compare an array with a golden output of the same shape."""
    array = array.astype(np.float64)
    values = np.abs(array.reshape(-1)[list(golden.indices)] - golden.values)
    moments = np.abs(
        [array.mean() - golden.mean, array.std() - golden.std, np.abs(array).max() - golden.absmax]
    )
    return Difference(float(values.max(initial=0) / golden.std), float(moments.max() / golden.std))
