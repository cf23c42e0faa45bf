"""A trained network over a source of images, and its COCO evaluation; start at `build_detector`.

Each host predicts on its own devices; an evaluation shares the images out and puts the results together.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from jax.sharding import Mesh
from jaxtyping import Float, UInt8
from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.augment.policies import resize_for_inference
from selftrain_jax.data.source import Source, subset
from selftrain_jax.detection.coco_eval import Backend, ImageDetections, evaluate_detections
from selftrain_jax.tasks.detection.coco_export import export_image_ids, to_coco_results
from selftrain_jax.tasks.detection.pseudo.inference import Load, Network, infer_images
from selftrain_jax.train.sharding import jit_predict, local_mesh, shard_state
from selftrain_jax.types import Detections, Example, Task, Variables


@dataclass(frozen=True)
class Detector:
    """Inference as a job uses it, apart from the weights.

    `place` puts variables on the devices, `predict` is jitted once for one batch shape.
    """

    place: Callable[[Variables], Variables]
    predict: Callable[[Variables, Float[np.ndarray, "B S S 3"]], Detections]
    load: Load
    batch_size: int
    image_size_px: int
    score_floor: float
    eval_backend: Backend


def build_detector(config: ConfigDict, task: Task, mesh: Mesh) -> Detector:
    """Compile-once inference over this host's devices, by its part of the batch."""
    mesh = local_mesh(mesh)
    return Detector(
        place=lambda variables: shard_state(mesh, variables),
        predict=jit_predict(mesh, task.predict),
        load=make_load(config.image.size_px),
        batch_size=config.eval.batch_size // hosts.count(),
        image_size_px=config.image.size_px,
        score_floor=config.postprocess.score_threshold,
        eval_backend=config.eval.backend,
    )


def make_load(image_size_px: int) -> Load:
    """Return the function that fits an image into the network's input (longest side, zero padding)."""

    @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)])
    def resize(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        tensors = {"image": image, "boxes": tf.zeros([0, 4]), "classes": tf.zeros([0], tf.int32)}
        resized = resize_for_inference(tensors, output_size_px=image_size_px)
        return resized["image"], resized["scale"]

    resize.get_concrete_function()  # traced here, not in the threads that call it

    def load(
        image: UInt8[np.ndarray, "H W 3"],
    ) -> tuple[Float[np.ndarray, "S S 3"], Float[np.ndarray, " 2"]]:
        resized, scale = resize(image)
        return resized.numpy(), scale.numpy()

    return load


def bind_variables(detector: Detector, variables: Variables, score_floor: float) -> Network:
    """Put the weights on the devices; detections below `score_floor` will be dropped."""
    placed = detector.place(variables)
    return Network(
        load=detector.load,
        predict_batch=lambda images: detector.predict(placed, images),
        batch_size=detector.batch_size,
        image_size_px=detector.image_size_px,
        score_floor=score_floor,
    )


def detect(detector: Detector, variables: Variables, source: Source) -> Iterator[Example]:
    """Yield each image's detections in its own pixels, in the source's order.

    Raises:
      InputError: an image does not decode, or the network's output is not finite.
    """
    network = bind_variables(detector, variables, detector.score_floor)
    starts = range(0, len(source), detector.batch_size)
    chunks = [(0, range(start, min(start + detector.batch_size, len(source)))) for start in starts]
    for _, images in infer_images(chunks, source=source, network=network):
        for image in images:
            if isinstance(image, Exception):
                raise image
            yield image.labels


def evaluate_source(
    detector: Detector, variables: Variables, source: Source
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the COCO numbers on a labelled source, and the detections as COCO results."""
    found = _exchange(
        list(detect(detector, variables, subset(source, hosts.shard_range(len(source)), source.name)))
    )
    truth = [source.read_labels(index) for index in range(len(source))]
    detections = [ImageDetections(x["image_id"], x["boxes"], x["scores"], x["classes"]) for x in found]
    result = evaluate_detections(truth, detections, source.categories, backend=detector.eval_backend)
    rows = [
        row
        for image_id, image in zip(export_image_ids(source.image_ids), found, strict=True)
        for row in to_coco_results(image_id, image["boxes"], image["scores"], image["classes"])
    ]
    return result, rows


def _exchange(found: list[Example]) -> list[Example]:
    """Put the detections of all hosts together, in the source's order; JSON keeps every float32."""
    if hosts.count() == 1:
        return found
    rows = [
        [image["image_id"], image["boxes"].tolist(), image["scores"].tolist(), image["classes"].tolist()]
        for image in found
    ]
    return [
        {
            "image_id": image_id,
            "boxes": np.array(boxes, np.float32).reshape(-1, 4),
            "scores": np.array(scores, np.float32),
            "classes": np.array(classes, np.int32),
        }
        for of_host in hosts.gather(rows)
        for image_id, boxes, scores, classes in of_host
    ]
