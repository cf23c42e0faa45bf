"""Images as each weight file was trained on them, and weights that take ours instead; call `fold_input_rule`.

Paper: silent about it; the official detector feeds mean 0 and deviation 1 to every backbone.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from selftrain_jax.errors import InputError
from selftrain_jax.types import Variables

AnyArray = Shaped[np.ndarray | Array, "..."]


class InputRule(NamedTuple):
    """The network sees (x / 255 - mean) / deviation, channel by channel (RGB)."""

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]


RULES: dict[str, InputRule] = {
    "imagenet": InputRule((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),  # ours
    "unit": InputRule((0.0,) * 3, (1.0,) * 3),  # SimCLR: x / 255
    "half": InputRule((0.5,) * 3, (0.5,) * 3),  # AdvProp and timm's Lite: from -1 to 1
    "lite": InputRule((127 / 255,) * 3, (128 / 255,) * 3),  # EfficientNet-Lite: (x - 127) / 128
}
OURS = RULES["imagenet"]


def find_rule(name: str) -> InputRule:
    """Return a rule by its name. Raises: InputError listing the known ones."""
    if name not in RULES:
        raise InputError(f"input_rule={name!r} is not one of auto, {', '.join(RULES)}")
    return RULES[name]


def normalize(
    images: Float[np.ndarray, "*B H W 3"] | Shaped[np.ndarray, "*B H W 3"], rule: InputRule
) -> Float[np.ndarray, "*B H W 3"]:
    """Bring pixels from 0 to 255 to what a network of this rule sees."""
    return ((images / 255 - np.asarray(rule.mean)) / np.asarray(rule.deviation)).astype(np.float32)


def fold_input_rule(variables: Variables, rule: InputRule) -> Variables:
    """Change the stem so that our input z gives what the source's input x = a·z + b gave it.

    conv(x) = conv'(z) + r with kernel' = a·kernel and r = Σ kernel·b; the batch normalisation that
    follows takes r away from its running mean. Exact wherever the kernel lies inside the image.

    Differs: where it reaches over the border the source pads with x = 0, we with z = 0, so the result is
    the source's on an image framed in our mean colour. In training the batch's own mean takes r's place.
    """
    scale = np.divide(OURS.deviation, rule.deviation)
    shift = (np.asarray(OURS.mean) - rule.mean) / np.asarray(rule.deviation)
    kernel = np.asarray(find(variables, "params", "stem", "kernel"), np.float64)
    mean = np.asarray(find(variables, "batch_stats", "stem_bn", "mean"), np.float64)
    response = np.einsum("hwio,i->o", kernel, shift)
    folded = replace(variables, "params", "stem", "kernel", kernel * scale[:, None])
    return replace(folded, "batch_stats", "stem_bn", "mean", mean - response)


def find(variables: Variables, collection: str, layer: str, name: str) -> AnyArray:
    """Return an array of the backbone's first layers."""
    return variables[collection]["backbone"][layer][name]


def replace(
    variables: Variables, collection: str, layer: str, name: str, value: Float[np.ndarray, "..."]
) -> Variables:
    """Return the variables with one array of the backbone's first layers changed."""
    group = variables[collection]
    backbone = group["backbone"]
    changed = {**backbone, layer: {**backbone[layer], name: jnp.asarray(value, jnp.float32)}}
    return {**variables, collection: {**group, "backbone": changed}}
