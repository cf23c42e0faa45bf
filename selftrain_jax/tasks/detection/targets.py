"""Boxes on their way from an example into a batch; call `box_targets` and hand it to `make_batches`."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from selftrain_jax.data.pipeline import TargetSpec, Tensors
from selftrain_jax.errors import InputError
from selftrain_jax.tasks.detection.pseudo.weights import EQUAL, WEIGHTS, PseudoWeights, weigh_boxes
from selftrain_jax.types import BoxTargets, Example

SIGNATURE = {
    "boxes": tf.TensorSpec([None, 4], tf.float32),
    "classes": tf.TensorSpec([None], tf.int32),
    "is_ignore": tf.TensorSpec([None], tf.bool),
}


def box_targets(max_boxes: int, weights: PseudoWeights = EQUAL) -> TargetSpec:
    """Return detection's targets: `max_boxes` slots an image, crowds left out.

    `weights` say what pseudo boxes count; those that are 1 for all boxes are None.

    Raises:
        InputError: when an image is read: it has more boxes than slots.
    """

    def read(example: Example, where: str) -> Mapping[str, np.ndarray]:
        num_boxes = len(example["boxes"])
        keep = ~example.get("is_crowd", np.zeros(num_boxes, bool))
        if keep.sum() > max_boxes:
            raise InputError(
                f"{where} has {keep.sum()} boxes, but config.image.max_boxes is {max_boxes}; raise it"
            )
        return {
            "boxes": example["boxes"][keep],
            "classes": example["classes"][keep],
            "is_ignore": example.get("is_ignore", np.zeros(num_boxes, bool))[keep],
            **{name: values[keep] for name, values in weigh_boxes(example, weights).items()},
        }

    signature = {**SIGNATURE, **dict.fromkeys(weights.names, tf.TensorSpec([None], tf.float32))}
    return TargetSpec(signature, read, lambda tensors: pad_boxes(tensors, max_boxes))


def pad_boxes(tensors: Tensors, max_boxes: int) -> BoxTargets:
    """Pad one image's boxes to `max_boxes` slots and mark the ones in use as `valid`."""
    num_boxes = tf.shape(tensors["boxes"])[0]
    slots = [0, max_boxes - num_boxes]

    def pad(key: str) -> tf.Tensor:
        return tf.ensure_shape(tf.pad(tensors[key], [slots]), [max_boxes])

    return BoxTargets(
        boxes=tf.ensure_shape(tf.pad(tensors["boxes"], [slots, [0, 0]]), [max_boxes, 4]),
        classes=pad("classes"),
        valid=tf.range(max_boxes) < num_boxes,
        ignore=pad("is_ignore"),
        **{key: pad(key) for key in WEIGHTS if key in tensors},
    )
