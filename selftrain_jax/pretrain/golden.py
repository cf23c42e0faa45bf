"""Weights and images that any framework can make from a variable's name alone; call `golden_array`.

They stand in for a published checkpoint where two implementations of one network are compared.
"""

import math
import zlib
from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Float


def golden_array(name: str, shape: tuple[int, ...], gain: float = 1.0) -> Float[np.ndarray, "..."]:
    """Make the float32 array of the TensorFlow variable `name`, in TensorFlow's layout.

    The seed is crc32(name) mod 2^31. Means, offsets and biases are 0.1·n with n normal, gamma 1 + 0.1·n,
    variances 1 + 0.2·u with u uniform; kernels are gain·n·√(2 / inputs of one output).

    Raises:
        ValueError: the name's last part is no kind of variable that the rule knows.
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
        raise ValueError(f"No rule for a variable named {name}.")
    return array.astype(np.float32)


def golden_image(size_px: int) -> Float[np.ndarray, "1 size_px size_px 3"]:
    """Make the input: uniform in [-2, 2), seed 0."""
    shape = (1, size_px, size_px, 3)
    return np.random.RandomState(0).uniform(-2, 2, shape).astype(np.float32)


class GoldenArrays(Mapping[str, np.ndarray]):
    """The arrays of many variables, each made when it is asked for."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], gain: float = 1.0) -> None:
        self.shapes = shapes
        self.gain = gain

    def __getitem__(self, name: str) -> np.ndarray:
        return golden_array(name, self.shapes[name], self.gain)

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)
