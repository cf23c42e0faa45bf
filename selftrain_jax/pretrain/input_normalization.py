"""The input normalisations of published weights, and weights changed to take ours: `fold_normalization`.

Not in the paper; the official detector gives every backbone inputs of mean 0 and deviation 1.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Shaped

from selftrain_jax.errors import InputError
from selftrain_jax.models.input_normalization import MEAN_RGB, STDDEV_RGB
from selftrain_jax.types import Variables


class InputNormalization(NamedTuple):
    """The network's input is (x / 255 - mean) / deviation, for each channel (RGB)."""

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]


NORMALIZATIONS: dict[str, InputNormalization] = {
    "imagenet": InputNormalization(MEAN_RGB, STDDEV_RGB),  # ours
    "unit": InputNormalization((0.0,) * 3, (1.0,) * 3),  # SimCLR: x / 255
    "half": InputNormalization((0.5,) * 3, (0.5,) * 3),  # AdvProp and timm's Lite: from -1 to 1
    "lite": InputNormalization((127 / 255,) * 3, (128 / 255,) * 3),  # EfficientNet-Lite: (x - 127) / 128
}
OURS = NORMALIZATIONS["imagenet"]


def find_normalization(name: str) -> InputNormalization:
    """Look up a normalisation by its name.

    Raises:
        InputError: listing those that exist.
    """
    if name not in NORMALIZATIONS:
        raise InputError(f"input_rule={name!r} is not one of auto, {', '.join(NORMALIZATIONS)}")
    return NORMALIZATIONS[name]


def normalize(
    images: Float[np.ndarray, "*B H W 3"] | Shaped[np.ndarray, "*B H W 3"], source: InputNormalization
) -> Float[np.ndarray, "*B H W 3"]:
    """Normalise pixels from 0 to 255."""
    return ((images / 255 - np.asarray(source.mean)) / np.asarray(source.deviation)).astype(np.float32)


def fold_normalization(variables: Variables, source: InputNormalization) -> Variables:
    """Change the stem so that it computes from our input z what it computed from the source's x = a·z + b.

    conv(x) = conv'(z) + r with kernel' = a·kernel and r = Σ kernel·b; r is subtracted from the running mean
    of the batch normalisation that follows, or added to the stem's own bias (ConvNeXt's). This is exact where
    the kernel lies inside the image.

    Differs: beyond the border the source pads with x = 0, we pad with z = 0, so the result is the source's
    for an image in a frame of our mean colour. In training, the batch's mean cancels r.
    """
    scale = np.divide(OURS.deviation, source.deviation)
    shift = (np.asarray(OURS.mean) - source.mean) / np.asarray(source.deviation)
    kernel = np.asarray(variables["params"]["backbone"]["stem"]["kernel"], np.float64)
    response = np.einsum("hwio,i->o", kernel, shift)
    folded = _replace(variables, ["params", "backbone", "stem", "kernel"], kernel * scale[:, None])
    if "bias" in (stem := variables["params"]["backbone"]["stem"]):
        bias = np.asarray(stem["bias"], np.float64)
        return _replace(folded, ["params", "backbone", "stem", "bias"], bias + response)
    mean = np.asarray(variables["batch_stats"]["backbone"]["stem_bn"]["mean"], np.float64)
    return _replace(folded, ["batch_stats", "backbone", "stem_bn", "mean"], mean - response)


def _replace(tree: dict[str, Any], path: list[str], value: Float[np.ndarray, "..."]) -> dict[str, Any]:
    """Return the tree with one array changed."""
    name, *rest = path
    return {**tree, name: _replace(tree[name], rest, value) if rest else jnp.asarray(value, jnp.float32)}
