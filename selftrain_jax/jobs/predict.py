"""`--job=predict`: boxes for a folder of images, as COCO-format JSON and as drawn pictures."""

import pathlib

import jax
import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from selftrain_jax.build import build_experiment
from selftrain_jax.classification.joint import detector_part
from selftrain_jax.data.coco_export import to_coco_results
from selftrain_jax.data.image_folder import read_image_folder
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.jobs.inference import build_detector, detect
from selftrain_jax.report.draw import class_color, draw_boxes
from selftrain_jax.selftrain.manifest import read_json, write_json
from selftrain_jax.train.checkpoint import restore_whole
from selftrain_jax.train.named_arrays import check_names, shapes_by_name
from selftrain_jax.types import Category, Example


def run_predict(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Detect in the images of config.predict.input with the student, or with the stage that is there.

    Writes `predictions.json` (categories, images, annotations with scores) and `drawn/` into
    config.predict.output, by default `<workdir>/predictions`.

    Raises:
      InputError: no input folder, no trained stage, or an image that does not decode.
    """
    settings = config.predict
    if not settings.input:
        raise InputError("--job=predict needs images: --config.predict.input=FOLDER")
    source = read_image_folder(pathlib.Path(settings.input))
    categories = read_categories(workdir)
    output = pathlib.Path(settings.output) if settings.output else workdir / "predictions"
    experiment = build_experiment(config, categories)
    template = jax.eval_shape(experiment.task.init, jax.random.key(0))
    checkpoint = pathlib.Path(settings.checkpoint) if settings.checkpoint else newest_stage(workdir)
    variables = detector_part(restore_whole(checkpoint, config.eval.checkpoint))
    check_names(shapes_by_name(variables), shapes_by_name(template), checkpoint)
    found = list(detect(build_detector(config, experiment), variables, source))
    (output / "drawn").mkdir(parents=True, exist_ok=True)
    write_json(output / "predictions.json", to_coco(source, found, categories))
    for index, example in enumerate(found):
        draw_example(source.read_image(index), example, categories, settings.score_threshold).save(
            output / "drawn" / (example["image_id"].replace("/", "__") + ".png")
        )
    above = sum(int((example["scores"] >= settings.score_threshold).sum()) for example in found)
    print(
        f"{len(found)} images, {above} boxes of score {settings.score_threshold} or more, by {checkpoint}; "
        f"written to {output}"
    )


def read_categories(workdir: pathlib.Path) -> tuple[Category, ...]:
    """Return the classes that a run was trained on."""
    rows = read_json(workdir / "categories.json", "nothing was trained in this --workdir")
    return tuple(Category(row["id"], row["name"]) for row in rows)


def newest_stage(workdir: pathlib.Path) -> pathlib.Path:
    """Return the folder of the student, or of the control or teacher when there is no student yet.

    Raises:
      InputError: no stage is finished.
    """
    for stage in ("student", "control", "teacher"):
        if (workdir / stage / "evaluation.json").exists():
            return workdir / stage
    raise InputError(
        f"no stage in {workdir} is finished; train first, or name one by --config.predict.checkpoint=FOLDER"
    )


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
