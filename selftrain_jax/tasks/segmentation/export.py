"""A segmenter as other programs run it; call `export_network`."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from selftrain_jax.export.program import Network
from selftrain_jax.segmentation.multi_scale import interpolation_matrix
from selftrain_jax.types import Example, FittedImages, Task, Variables

SELECTED = {
    "classes": "[B, S, S] uint8, the class id of each pixel of the input",
    "scores": "[B, S, S] the probability of that class",
}
DENSE = {"logits": "[B, S/4, S/4, K] of a softmax over the classes"}


def export_network(config: ConfigDict, task: Task, *, is_selected: bool) -> Network:
    """Return each pixel's class and probability or, unselected, the logits on a quarter of the resolution."""
    if not is_selected:
        return Network(lambda variables, fitted: task.predict(variables, fitted)._asdict(), DENSE)

    def compute(variables: Variables, fitted: FittedImages) -> Mapping[str, jax.Array]:
        side_px = fitted.images.shape[1]
        probabilities = jax.nn.softmax(_enlarge(task.predict(variables, fitted).logits, side_px))
        return {
            "classes": jnp.argmax(probabilities, axis=-1).astype(jnp.uint8),
            "scores": probabilities.max(axis=-1),
        }

    return Network(compute, SELECTED)


def _enlarge(logits: Float[Array, "B h w K"], side_px: int) -> Float[Array, "B S S K"]:
    """Enlarge by four as in `multi_scale`, for images that fill the input."""
    whole = jnp.array([side_px])
    weights = interpolation_matrix(jnp.arange(side_px), logits.shape[1], whole, whole)[0]  # [S, h]
    return jnp.einsum("yh,bhwk,xw->byxk", weights, logits, weights)


def read_exported(
    image_id: str, size_px: tuple[int, int], covered_px: tuple[int, int], results: Mapping[str, Any]
) -> Example:
    """Return an image's class map in its own pixels from its rows of `SELECTED`.

    The nearest pixel of the input counts, where a run's own network blends probabilities: contours differ.
    """
    rows, columns = (
        np.arange(side) * covered // side for side, covered in zip(size_px, covered_px, strict=True)
    )
    picked = np.ix_(rows, columns)
    levels = np.minimum(np.floor(256 * np.asarray(results["scores"])[picked]), 255)
    return {
        "image_id": image_id,
        "mask": np.asarray(results["classes"])[picked],
        "confidence": levels.astype(np.uint8),
    }
