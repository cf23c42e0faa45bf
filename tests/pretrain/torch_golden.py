"""Weights that PyTorch and we can make from an array's name alone, as the golden rule does TensorFlow's."""

import hashlib
import math
import zlib

import numpy as np


def torch_golden_array(name: str, shape: tuple[int, ...]) -> np.ndarray:
    random = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)
    if name.endswith(("bias", "running_mean")):
        array = 0.1 * random.randn(*shape)
    elif name.endswith("running_var"):
        array = 1 + 0.2 * random.rand(*shape)
    elif len(shape) == 1:
        array = 1 + 0.1 * random.randn(*shape)
    else:
        array = math.sqrt(2 / math.prod(shape[1:])) * random.randn(*shape)
    return array.astype(np.float32)


def names_digest(shapes: dict[str, tuple[int, ...]]) -> str:
    lines = "\n".join(f"{name} {list(shape)}" for name, shape in sorted(shapes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def vit_golden_array(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """As `torch_golden_array`, but tokens and positions are as large as what they are added to."""
    if name in ("cls_token", "reg_token", "pos_embed"):
        random = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)
        return random.randn(*shape).astype(np.float32)
    return torch_golden_array(name, shape)
