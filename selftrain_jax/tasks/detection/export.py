"""A detector as other programs run it; call `export_network`."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from selftrain_jax.export.program import Network, Selection
from selftrain_jax.types import Example, FittedImages, Task, Variables

SELECTED = {
    "boxes": "[B, D, 4] ymin, xmin, ymax, xmax in pixels of the input, the surest first",
    "scores": "[B, D] 0 to 1",
    "classes": "[B, D] class ids",
    "valid": "[B, D] whether there is a box",
}
DENSE = {
    "boxes": "[B, A, 4] ymin, xmin, ymax, xmax of every anchor in pixels of the input",
    "scores": "[B, A, K - 1] of the classes from id 1 on, 0 to 1, before NMS",
}


def export_network(config: ConfigDict, task: Task, *, is_selected: bool) -> Network:
    """Return the detections of a task of pixels or, unselected, the box and the scores of every anchor."""
    if is_selected:
        return Network(lambda variables, fitted: task.predict(variables, fitted)._asdict(), SELECTED)
    assert task.dense is not None
    dense = task.dense

    def compute(variables: Variables, fitted: FittedImages) -> Mapping[str, jax.Array]:
        found = dense(variables, fitted)
        return {"boxes": found.boxes, "scores": jax.nn.sigmoid(found.logits[..., 1:]).astype(jnp.float32)}

    settings = config.postprocess
    selection = Selection(
        float(settings.iou_threshold), float(settings.score_threshold), int(settings.max_detections)
    )
    return Network(compute, DENSE, None if settings.soft_nms_sigma else selection)


def read_exported(
    image_id: str, size_px: tuple[int, int], covered_px: tuple[int, int], results: Mapping[str, Any]
) -> Example:
    """Return an image's boxes in its own pixels, clipped to it, from its rows of `SELECTED`."""
    valid = np.asarray(results["valid"])
    limits = np.array([*size_px, *size_px], np.float32)
    scale = limits / np.array([*covered_px, *covered_px], np.float32)
    return {
        "image_id": image_id,
        "boxes": np.clip(np.asarray(results["boxes"])[valid] * scale, 0, limits),
        "scores": np.asarray(results["scores"])[valid],
        "classes": np.asarray(results["classes"])[valid],
    }
