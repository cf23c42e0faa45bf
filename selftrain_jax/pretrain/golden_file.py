"""Files of what an official network computes, and how far another is from them; call `read_golden`."""

import json
import math
import re
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from selftrain_jax.errors import InputError

MAX_DIMENSIONS = 32
FILE_NAME = re.compile(r".+_(?P<size_px>[1-9]\d*)(_gain(?P<gain>\d+(\.\d+)?))?\.json")


class GoldenOutput(NamedTuple):
    """An output tensor in short: its moments, and its values at some flattened indices."""

    shape: tuple[int, ...]
    mean: float
    std: float
    absmax: float
    indices: tuple[int, ...]
    values: tuple[float, ...]


class Difference(NamedTuple):
    """Distance from a golden output, in its standard deviations."""

    values: float  # the largest
    moments: float  # the largest of mean, std and absmax

    def exceeds(self, tolerance: float) -> bool:
        """Tell whether either is too large or no number."""
        return not (self.values <= tolerance and self.moments <= tolerance)


def size_and_gain(path: Path) -> tuple[int, float]:
    """Read the image size (pixels) and the kernels' gain from the name, `NETWORK_SIZE[_gainX].json`.

    Raises:
        InputError: the name has another form.
    """
    if not (found := FILE_NAME.fullmatch(path.name)):
        raise InputError(
            f"The golden file's name {path.name} does not say its image size; "
            "name it like efficientnet-b0_224.json or retinanet_r50fpn_256_gain0.5.json."
        )
    return int(found["size_px"]), float(found["gain"] or 1)


def read_golden(path: Path) -> dict[str, GoldenOutput]:
    """Read the outputs by name.

    Raises:
        InputError: the file cannot be read, is no JSON, or an output's description is not whole.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"The golden file {path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"The golden file {path} is no JSON: {error}.") from error
    if not isinstance(content, dict) or not content:
        raise InputError(f"The golden file {path} holds no outputs; expected an object of them by name.")
    return {name: parse_output(entry, f"{name} of {path}") for name, entry in content.items()}


def parse_output(entry: object, where: str) -> GoldenOutput:
    """Check one output's description.

    Raises:
        InputError: a key is absent or its value is not what it should be.
    """
    if not isinstance(entry, dict):
        raise InputError(f"The golden output {where} is {reprlib.repr(entry)}; expected an object.")
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
            f"The golden output {where} has {len(output.values)} vals for the idx "
            f"{list(output.indices[:5])} ({len(output.indices)}); expected one for each, all from 0 to "
            f"{size - 1}."
        )
    if not (math.isfinite(output.std) and output.std > 0):
        raise InputError(f"The golden output {where} has std {output.std}; errors are relative to it.")
    return output


def check_shapes(
    found: Mapping[str, tuple[int, ...]], golden: Mapping[str, GoldenOutput], where: str
) -> None:
    """Refuse golden outputs that the network lacks or has in another shape.

    Raises:
        InputError: there is one.
    """
    for name, output in golden.items():
        if name not in found:
            raise InputError(f"{where} has an output {name!r}; the network has {', '.join(found)}.")
        if found[name] != output.shape:
            raise InputError(
                f"{where} gives {name} the shape {list(output.shape)}; the network's is {list(found[name])}. "
                "Is it the same network and image size?"
            )


def difference(array: np.ndarray, golden: GoldenOutput) -> Difference:
    """Compare an output of the same shape."""
    array = array.astype(np.float64)
    values = np.abs(array.reshape(-1)[list(golden.indices)] - golden.values)
    moments = np.abs(
        [array.mean() - golden.mean, array.std() - golden.std, np.abs(array).max() - golden.absmax]
    )
    return Difference(float(values.max(initial=0) / golden.std), float(moments.max() / golden.std))
