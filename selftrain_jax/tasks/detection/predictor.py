"""Detection's network in the jobs' hands: evaluation, pseudo labels, predictions; call `open_predictor`."""

import pathlib
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict
from PIL import Image

from selftrain_jax import hosts
from selftrain_jax.data.source import Source
from selftrain_jax.html.draw import class_color, draw_boxes
from selftrain_jax.io import write_json
from selftrain_jax.selftrain.labeller import Labeller
from selftrain_jax.tasks.detection.coco_export import to_coco_results
from selftrain_jax.tasks.detection.inference import (
    Detector,
    bind_variables,
    build_detector,
    detect,
    evaluate_source,
)
from selftrain_jax.tasks.detection.pseudo.labeller import box_labeller
from selftrain_jax.tasks.detection.pseudo.views import read_views
from selftrain_jax.tasks.detection.server_results import KEY, CocoIds, annotated_ids, server_results, stem_ids
from selftrain_jax.tasks.spec import Predictor
from selftrain_jax.types import Category, Example, Task, Variables

RESULTS_FILE = "results.json"


def open_predictor(config: ConfigDict, task: Task, mesh: Mesh) -> Predictor:
    """Close detection's inference over a run's network and config.

    Raises:
        InputError: config.pseudo.views does not fit; before anything is trained.
    """
    detector = build_detector(config, task, mesh)
    views = read_views(config.pseudo.views, config.image.size_px)

    def labeller(models: Sequence[Variables], source: Source) -> Labeller:
        return box_labeller(source, bind_variables(detector, models, config.pseudo.score_floor, views))

    return Predictor(
        measure=lambda variables, source: evaluate_source(detector, variables, source)[0],
        evaluate=partial(_evaluate, detector),
        measure_scales=None,
        labeller=labeller,
        find=partial(detect, detector),
    )


def _evaluate(
    detector: Detector, variables: Variables, source: Source, directory: pathlib.Path
) -> dict[str, Any]:
    result, detections = evaluate_source(detector, variables, source)
    hosts.run_on_host0(lambda: write_json(directory / "detections.json", detections))
    return result


def write_found(
    config: ConfigDict,
    source: Source,
    detections: Iterable[Example],
    categories: tuple[Category, ...],
    output: pathlib.Path,
) -> str:
    """Write `predictions.json`, `results.json` and `drawn/`; return what was found in a phrase."""
    threshold, annotations = config.predict.score_threshold, config.predict.annotations
    images = source.image_ids
    ids = annotated_ids(pathlib.Path(annotations), images, categories) if annotations else None
    found = list(detections)
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / "predictions.json", to_coco(source, found, categories))
    _write_results(output / RESULTS_FILE, found, ids or stem_ids(images, categories))
    for index, example in enumerate(found):
        path = output / "drawn" / (example["image_id"] + ".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_example(source.read_image(index), example, categories, threshold).save(path)
    above = sum(int((example["scores"] >= threshold).sum()) for example in found)
    return f"{len(found)} images, {above} boxes of score {threshold} or more"


def _write_results(path: pathlib.Path, found: list[Example], ids: CocoIds | str) -> None:
    """Write COCO's results, or say why there are none; those of earlier images do not stay."""
    if isinstance(ids, CocoIds):
        return write_json(path, server_results(found, ids))
    path.unlink(missing_ok=True)
    remedy = f"the ids of COCO's annotation file are taken by --{KEY}=FILE"
    return hosts.log(f"{path.name} for COCO's server is left out, as {ids}; {remedy}")


def to_coco(source: Source, found: list[Example], categories: tuple[Category, ...]) -> dict:
    """Return COCO's annotation format, with a score on every box."""
    images, annotations = [], []
    for index, example in enumerate(found):
        height, width = source.read_image(index).shape[:2]
        image_id = example["image_id"]
        images.append({"id": image_id, "file_name": image_id, "height": height, "width": width})
        annotations += to_coco_results(image_id, example["boxes"], example["scores"], example["classes"])
    for number, row in enumerate(annotations, start=1):
        row |= {"id": number, "area": row["bbox"][2] * row["bbox"][3], "iscrowd": 0}
    return {
        "categories": [category._asdict() for category in categories],
        "images": images,
        "annotations": annotations,
    }


def draw_example(
    image: np.ndarray, example: Example, categories: tuple[Category, ...], score_threshold: float
) -> Image.Image:
    """Draw the boxes of at least `score_threshold` with class and score."""
    names = dict(categories)
    kept = np.flatnonzero(example["scores"] >= score_threshold)
    labels = [f"{names[int(example['classes'][i])]} {example['scores'][i]:.2f}" for i in kept]
    colors = [class_color(int(example["classes"][i])) for i in kept]
    return Image.fromarray(draw_boxes(image, example["boxes"][kept], labels, colors))
