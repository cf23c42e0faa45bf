"""`--job=predict`: what a trained network finds in a folder of images, as files and as drawn pictures."""

import pathlib

import jax
from ml_collections import ConfigDict

from selftrain_jax.build.experiment import build_experiment
from selftrain_jax.classification.joint import detector_part
from selftrain_jax.data.sources.image_folder import read_image_folder
from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json
from selftrain_jax.named_arrays import check_names, shapes_by_name
from selftrain_jax.run_files.evaluation import EVALUATION_FILE
from selftrain_jax.tasks.lookup import get_self_training
from selftrain_jax.train.checkpoint import restore_whole
from selftrain_jax.types import Category


def run_predict(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Predict for the images of config.predict.input with the student, or with the stage that is there.

    Writes into config.predict.output, by default `<workdir>/predictions`: for detection `predictions.json`
    (categories, images, annotations with scores) and, where the images have integer ids, `results.json` for
    COCO's server; for segmentation `masks/*.png` and `classes.json`; for both pictures in `drawn/`.

    Raises:
        InputError: no input folder, no trained stage, an image that does not decode or that
            config.predict.annotations does not list.
    """
    settings, self_training = config.predict, get_self_training(config.task)
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
    predictor = self_training.open_predictor(config, experiment.task, experiment.mesh)
    found = predictor.predict(variables, source, categories, output)
    print(f"{found}, by {checkpoint}; written to {output}")


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
        if (workdir / stage / EVALUATION_FILE).exists():
            return workdir / stage
    raise InputError(
        f"no stage in {workdir} is finished; train first, or name one by --config.predict.checkpoint=FOLDER"
    )
