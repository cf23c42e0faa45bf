"""Boxes for `--job=predict`: COCO-format JSON and drawn pictures; call `predict_boxes`."""

import pathlib

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from selftrain_jax.build.experiment import Experiment
from selftrain_jax.data.source import Source
from selftrain_jax.html.draw import class_color, draw_boxes
from selftrain_jax.io import write_json
from selftrain_jax.tasks.detection.coco_export import to_coco_results
from selftrain_jax.tasks.detection.inference import build_detector, detect
from selftrain_jax.types import Category, Example, Variables


def predict_boxes(
    config: ConfigDict,
    experiment: Experiment,
    variables: Variables,
    source: Source,
    categories: tuple[Category, ...],
    output: pathlib.Path,
) -> str:
    """Detect, write `predictions.json` and `drawn/`; return what was found in a phrase."""
    threshold = config.predict.score_threshold
    found = list(detect(build_detector(config, experiment), variables, source))
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / "predictions.json", to_coco(source, found, categories))
    for index, example in enumerate(found):
        path = output / "drawn" / (example["image_id"] + ".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_example(source.read_image(index), example, categories, threshold).save(path)
    above = sum(int((example["scores"] >= threshold).sum()) for example in found)
    return f"{len(found)} images, {above} boxes of score {threshold} or more"


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
