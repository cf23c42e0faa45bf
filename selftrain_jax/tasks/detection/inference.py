"""A trained network over a source of images, and its COCO evaluation; start at `build_detector`.

Each host predicts on its own devices; an evaluation splits the images over the hosts and joins the results.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jax.sharding import Mesh
from jaxtyping import UInt8
from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.augment.policies import make_inference_resize
from selftrain_jax.data.source import Source, subset
from selftrain_jax.data.tiles import Tiling
from selftrain_jax.detection.coco_eval import Backend, ImageDetections, evaluate_detections
from selftrain_jax.selftrain.inference import Fitted, chunks_in_order
from selftrain_jax.tasks.detection.coco_export import export_image_ids, to_coco_results
from selftrain_jax.tasks.detection.pseudo.labeller import Load, Network, infer_images
from selftrain_jax.tasks.detection.pseudo.views import View
from selftrain_jax.tasks.tiles import read_tiling
from selftrain_jax.train.sharding import jit_predict, local_mesh, shard_state
from selftrain_jax.types import Detections, Example, FittedImages, Task, Variables

LoadOneSize = Callable[[UInt8[np.ndarray, "H W 3"]], Fitted]
"""As `Load`, for one size of the network's input."""


@dataclass(frozen=True)
class Detector:
    """A detector without its weights; `predict` is compiled once for each size of images."""

    place: Callable[[Variables], Variables]
    predict: Callable[[Variables, FittedImages], Detections]
    load: LoadOneSize  # for `image_size_px`
    batch_size: int
    image_size_px: int
    score_floor: float
    eval_backend: Backend
    tiling: Tiling | None = None


def build_detector(config: ConfigDict, task: Task, mesh: Mesh) -> Detector:
    """Return the detector of a run, for this host's devices and its part of the batch."""
    mesh = local_mesh(mesh)
    return Detector(
        place=lambda variables: shard_state(mesh, variables),
        predict=jit_predict(mesh, task.predict),
        load=make_inference_resize(config.image.size_px),
        batch_size=config.eval.batch_size // hosts.count(),
        image_size_px=config.image.size_px,
        score_floor=config.postprocess.score_threshold,
        eval_backend=config.eval.backend,
        tiling=read_tiling(config),
    )


def bind_variables(
    detector: Detector, models: Sequence[Variables], score_floor: float, views: tuple[View, ...] = ()
) -> Network:
    """Put the weights of one model or more on the devices; detections below `score_floor` will be dropped.

    `views` are those of each image; none stands for the image as it is.
    """
    return Network(
        load=_bind_load(detector, {view.size_px for view in views}),
        models=tuple(partial(detector.predict, detector.place(variables)) for variables in models),
        batch_size=detector.batch_size,
        image_size_px=detector.image_size_px,
        score_floor=score_floor,
        views=views,
        tiling=detector.tiling,
    )


def _bind_load(detector: Detector, sizes_px: set[int]) -> Load:
    loads = {detector.image_size_px: detector.load}
    loads |= {size_px: make_inference_resize(size_px) for size_px in sizes_px - loads.keys()}
    return lambda image, size_px: loads[size_px](image)


def detect(detector: Detector, variables: Variables, source: Source) -> Generator[Example, None, None]:
    """Yield each image's detections in its own pixels, in the source's order.

    Raises:
        InputError: an image does not decode, or the network's output is not finite.
    """
    network = bind_variables(detector, [variables], detector.score_floor)
    chunks = chunks_in_order(len(source), detector.batch_size)
    with closing(infer_images(chunks, source=source, network=network)) as inferred:
        for _, images in inferred:
            for image in images:
                if isinstance(image, Exception):
                    raise image
                yield image.labels


def evaluate_source(
    detector: Detector, variables: Variables, source: Source
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the COCO numbers on a labelled source, and the detections as COCO results.

    Their image ids are those of `write_coco_json`'s truth.
    """
    part = subset(source, hosts.shard_range(len(source)), source.name)
    found = _gather(list(detect(detector, variables, part)))
    truth = [source.read_labels(index) for index in range(len(source))]
    detections = [ImageDetections(x["image_id"], x["boxes"], x["scores"], x["classes"]) for x in found]
    result = evaluate_detections(truth, detections, source.categories, backend=detector.eval_backend)
    records = [
        record
        for exported_id, labels, image in zip(export_image_ids(source.image_ids), truth, found, strict=True)
        for record in to_coco_results(
            labels.get("coco_id", exported_id), image["boxes"], image["scores"], image["classes"]
        )
    ]
    return result, records


def _gather(found: list[Example]) -> list[Example]:
    """Join the detections of all hosts in the source's order; JSON keeps every float32."""
    if hosts.count() == 1:
        return found
    columns = [
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
        for images in hosts.gather(columns)
        for image_id, boxes, scores, classes in images
    ]
