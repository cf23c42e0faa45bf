"""`--job=predict`: what a trained network finds in a folder of images, as files and as drawn pictures."""

import json
import pathlib

import jax
from ml_collections import ConfigDict

from selftrain_jax.build.data import log_notes
from selftrain_jax.build.experiment import build_experiment
from selftrain_jax.build.image_checks import find_unreadable
from selftrain_jax.classification.joint import detector_part
from selftrain_jax.command_line import flatten
from selftrain_jax.data.source import Source, subset
from selftrain_jax.data.sources.image_folder import read_image_folder
from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json
from selftrain_jax.named_arrays import check_names, shapes_by_name
from selftrain_jax.run_files.arms import CONTROLS
from selftrain_jax.run_files.evaluation import EVALUATION_FILE
from selftrain_jax.run_files.rounds import read_rounds, stage_folders
from selftrain_jax.run_files.variants import CONFIG_FILE
from selftrain_jax.stages.records import read_record
from selftrain_jax.stages.settings import NETWORK, is_among
from selftrain_jax.tasks.lookup import get_self_training
from selftrain_jax.train.checkpoint import restore_whole
from selftrain_jax.types import Category


def run_predict(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Predict for the images of config.predict.input with the student, or with the stage that is there.

    Writes into config.predict.output, by default `<workdir>/predictions`: for detection `predictions.json`
    (categories, images, annotations with scores) and, where the images have integer ids, `results.json` for
    COCO's server; for segmentation `masks/*.png` and `classes.json`; for both pictures in `drawn/`.

    Images that cannot be read are left out, and listed when the others are done.

    Raises:
        InputError: no input folder, no trained stage, an image that config.predict.annotations does not list;
            or, at the end, images that cannot be read.
    """
    settings, self_training = config.predict, get_self_training(config.task)
    if not settings.input:
        raise InputError("--job=predict needs images: --config.predict.input=FOLDER")
    images = read_image_folder(pathlib.Path(settings.input))
    log_notes([images])
    source, unreadable = _readable_part(config, images)
    categories = read_categories(workdir)
    output = pathlib.Path(settings.output) if settings.output else workdir / "predictions"
    checkpoint = pathlib.Path(settings.checkpoint) if settings.checkpoint else newest_stage(workdir)
    config = trained_anchors(config, checkpoint)
    experiment = build_experiment(config, categories)
    template = jax.eval_shape(experiment.task.init, jax.random.key(0))
    check_network(config, workdir, checkpoint)
    variables = detector_part(restore_whole(checkpoint, config.eval.checkpoint))
    check_names(shapes_by_name(variables), shapes_by_name(template), checkpoint)
    predictor = self_training.open_predictor(config, experiment.task, experiment.mesh)
    found = predictor.predict(variables, source, categories, output)
    print(f"{found}, by {checkpoint}; written to {output}")
    if unreadable:
        raise InputError(_describe(unreadable, "The others have their predictions."))


def trained_anchors(config: ConfigDict, folder: pathlib.Path) -> ConfigDict:
    """Return the config with the anchors that a stage was trained with in place of anchor_size=0."""
    found = read_record(folder)
    size = None if found is None else found.settings.get("model.anchor_size")
    if config.model.anchor_size or size is None:
        return config
    trained = config.copy_and_resolve_references()
    trained.model.anchor_size = size
    return trained


def _readable_part(config: ConfigDict, images: Source) -> tuple[Source, list[str]]:
    """Return the images that can be read, and why the others cannot. Raises: InputError, none can."""
    max_stall_secs = float(config.data.max_stall_secs)
    bad = find_unreadable(images, range(len(images)), max_stall_secs)
    reasons = [bad[index] for index in sorted(bad)]
    kept = [index for index in range(len(images)) if index not in bad]
    if not kept:
        raise InputError(_describe(reasons, "There is no other."))
    return subset(images, kept, images.name) if bad else images, reasons


def _describe(unreadable: list[str], others: str) -> str:
    listed = "".join(f"\n  {reason}" for reason in unreadable)
    return f"{len(unreadable):,} images cannot be read and have no prediction. {others}{listed}"


def check_network(config: ConfigDict, workdir: pathlib.Path, folder: pathlib.Path) -> None:
    """See that the config has the network that a stage was trained as.

    A folder that is no run's, given by config.predict.checkpoint, says nothing but its weights' shapes.

    Raises:
        InputError: it is another one; with the keys that differ.
    """
    found = read_record(folder)
    path = workdir / CONFIG_FILE
    if found is not None:
        then = dict(found.settings)
    elif path.exists() and folder.parent == workdir:
        then = flatten(read_json(path, "the run's config is damaged"))
    else:
        return
    now = json.loads(json.dumps(flatten(config.to_dict())))
    keys = [key for key in sorted(now) if is_among(key, NETWORK) and key in then and then[key] != now[key]]
    if keys:
        shown = "\n".join(f"  config.{key}: {then[key]!r} then, {now[key]!r} now" for key in keys)
        raise InputError(f"{folder} was trained as another network:\n{shown}\nSet these keys as then.")


def read_categories(workdir: pathlib.Path) -> tuple[Category, ...]:
    """Return the classes that a run was trained on."""
    rows = read_json(workdir / "categories.json", "nothing was trained in this --workdir")
    return tuple(Category(row["id"], row["name"]) for row in rows)


def newest_stage(workdir: pathlib.Path) -> pathlib.Path:
    """Return the folder of the student, or of the control or teacher when there is no student yet.

    Raises:
        InputError: no stage is finished.
    """
    folders = stage_folders(workdir, read_rounds(workdir))
    for stage in ("student", *CONTROLS, "teacher"):
        if (folders[stage] / EVALUATION_FILE).exists():
            return folders[stage]
    raise InputError(
        f"no stage in {workdir} is finished; train first, or name one by --config.predict.checkpoint=FOLDER"
    )
