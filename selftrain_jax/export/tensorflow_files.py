"""A program as TensorFlow's SavedModel and for TensorFlow Lite: `write_savedmodel`, `write_tflite`.

TensorFlow carries the program as StableHLO (`jax2tf`), and has an operator of its own for NMS; TensorFlow
Lite converts the program into its own operators, of which NMS is none.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from jax.experimental import jax2tf

from selftrain_jax.errors import InputError
from selftrain_jax.export.program import Program, Results, Selection, first_line

SAVED_MODEL, LITE_FILE = "saved_model", "model.tflite"


def write_savedmodel(program: Program, folder: Path) -> Path:
    """Write a SavedModel whose signature takes images and covered_px, and gives the results by name."""
    side, batch = program.image_size_px, program.batch_size
    shapes = None if batch else [f"b, {side}, {side}, 3", "b, 2"]
    function = jax2tf.convert(program.run, polymorphic_shapes=shapes, with_gradient=False)
    module = tf.Module()

    def run(images: tf.Tensor, covered_px: tf.Tensor) -> dict[str, tf.Tensor]:
        found = dict(function(images, covered_px))
        return select(found, program.selection) if program.selection else found

    module.run = tf.function(
        run,
        autograph=False,
        input_signature=[
            tf.TensorSpec([batch, side, side, 3], tf.uint8, name="images"),
            tf.TensorSpec([batch, 2], tf.int32, name="covered_px"),
        ],
    )
    path = folder / SAVED_MODEL
    tf.saved_model.save(module, str(path), signatures=module.run.get_concrete_function())
    return path


def select(found: Mapping[str, tf.Tensor], selection: Selection) -> dict[str, tf.Tensor]:
    """Return the detections among `boxes` [B, A, 4] and `scores` [B, A, C], by TensorFlow's NMS."""
    boxes, scores, classes, count = tf.image.combined_non_max_suppression(
        found["boxes"][:, :, None],
        found["scores"],
        max_output_size_per_class=selection.max_detections,
        max_total_size=selection.max_detections,
        iou_threshold=selection.iou_threshold,
        score_threshold=selection.score_threshold,
        clip_boxes=False,
    )
    valid = tf.range(selection.max_detections)[None] < count[:, None]
    ids = tf.where(valid, tf.cast(classes, tf.int32) + 1, 0)
    return {"boxes": boxes, "scores": scores, "classes": ids, "valid": valid}


def open_savedmodel(path: Path) -> Results:
    """Return the function that a SavedModel's signature is."""
    module = tf.saved_model.load(str(path))
    signature = module.signatures["serving_default"]

    def run(images: Any, covered_px: Any) -> dict[str, np.ndarray]:
        found = signature(images=tf.constant(images), covered_px=tf.constant(covered_px))
        return {name: value.numpy() for name, value in found.items()}

    run.module = module  # type: ignore[attr-defined]  # TensorFlow drops a module that nobody holds
    return run


def write_tflite(program: Program, folder: Path) -> Path:
    """Write a TensorFlow Lite file of the program, its signature as the SavedModel's.

    Raises:
        InputError: the batch is open, or TensorFlow Lite has no operator for a part of the program.
    """
    if not program.batch_size:
        raise InputError(
            "TensorFlow Lite files are of a fixed batch; set --config.export.batch_size to 1 or more, not 0"
        )
    with tempfile.TemporaryDirectory() as name:
        converter = tf.lite.TFLiteConverter.from_saved_model(str(write_savedmodel(program, Path(name))))
        try:
            content = converter.convert()
        except Exception as error:  # it raises its own and others
            raise InputError(
                f"TensorFlow Lite cannot convert this network: {first_line(error)}. Of detectors it converts "
                "what is before NMS: --config.export.nms=False"
            ) from error
    path = folder / LITE_FILE
    path.write_bytes(content)
    return path


def open_tflite(path: Path) -> Results:
    """Return the function that a file's signature is, run by TensorFlow Lite's interpreter."""
    interpreter = tf.lite.Interpreter(str(path))
    runner = interpreter.get_signature_runner()
    return lambda images, covered_px: runner(images=images, covered_px=covered_px)
