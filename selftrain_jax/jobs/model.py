"""A trained network in Python: `load()` a run, then `Model.predict()` images."""

import json
import os
import pathlib
from functools import partial

import jax
from ml_collections import ConfigDict

from configs.common import get_config
from selftrain_jax.build.experiment import build_experiment
from selftrain_jax.build.number_types import with_usable_dtype
from selftrain_jax.classification.joint import detector_part
from selftrain_jax.command_line import flatten
from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json
from selftrain_jax.jobs.convert import complete_config
from selftrain_jax.jobs.exported import open_export
from selftrain_jax.jobs.found import Model
from selftrain_jax.jobs.released_model import NAMES, open_released
from selftrain_jax.named_arrays import check_names, shapes_by_name
from selftrain_jax.run_files.arms import CONTROLS
from selftrain_jax.run_files.evaluation import EVALUATION_FILE
from selftrain_jax.run_files.export_card import EXPORT_FILE
from selftrain_jax.run_files.rounds import read_rounds, stage_folders
from selftrain_jax.run_files.variants import CONFIG_FILE
from selftrain_jax.stages.records import read_record
from selftrain_jax.stages.settings import NETWORK, is_among
from selftrain_jax.tasks.lookup import get_self_training
from selftrain_jax.train.checkpoint import restore_whole
from selftrain_jax.types import Category

CATEGORIES_FILE = "categories.json"
NOTHING_TRAINED = "nothing was trained in this folder; expected the --workdir of a run"


def load(folder: str | os.PathLike, *, batch_size: int = 8) -> Model:
    """Open a run's newest stage (student, control, teacher), the stage whose folder is named, or an export.

    A name of configs/released.py, such as `spinenet49`, is a released checkpoint, downloaded the first time;
    a folder of that name comes first. `batch_size` images go through the network at once, whatever the run's
    config says; an export has its own.

    Raises:
        InputError: no run, no finished stage, or weights of another network or that cannot be had.
    """
    if folder in NAMES and not pathlib.Path(folder).exists():
        return open_released(str(folder), batch_size)
    folder = pathlib.Path(folder)
    if (folder / EXPORT_FILE).exists():
        return open_export(folder, batch_size)
    workdir = next((path for path in (folder, *folder.parents) if (path / CATEGORIES_FILE).exists()), None)
    if workdir is None or not (workdir / CONFIG_FILE).exists():
        raise InputError(f"{folder}: {NOTHING_TRAINED}")
    config = complete_config(read_json(workdir / CONFIG_FILE, "the run's config is damaged"), get_config())
    config.eval.batch_size = batch_size
    return open_model(config, workdir, newest_stage(workdir) if folder == workdir else folder)


def open_model(config: ConfigDict, workdir: pathlib.Path, checkpoint: pathlib.Path) -> Model:
    """Compose a run's network and read its weights from a stage's folder.

    Raises:
        InputError: the config or the weights are of another network.
    """
    self_training, categories = get_self_training(config.task), read_categories(workdir)
    config = trained_anchors(with_usable_dtype(config, jax.devices()), checkpoint)
    experiment = build_experiment(config, categories)
    template = jax.eval_shape(experiment.task.init, jax.random.key(0))
    check_network(config, workdir, checkpoint)
    variables = detector_part(restore_whole(checkpoint, config.eval.checkpoint))
    check_names(shapes_by_name(variables), shapes_by_name(template), checkpoint)
    predictor = self_training.open_predictor(config, experiment.task, experiment.mesh)
    return Model(config, categories, checkpoint, variables, partial(predictor.find, variables))


def trained_anchors(config: ConfigDict, folder: pathlib.Path) -> ConfigDict:
    """Return the config with the anchors that a stage was trained with in place of anchor_size=0."""
    found = read_record(folder)
    size = None if found is None else found.settings.get("model.anchor_size")
    if config.model.anchor_size or size is None:
        return config
    trained = config.copy_and_resolve_references()
    trained.model.anchor_size = size
    return trained


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
    rows = read_json(workdir / CATEGORIES_FILE, NOTHING_TRAINED)
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
