"""A released checkpoint with its network; call `open_released` or, to measure it, `find_weights_folder`."""

import pathlib
from functools import partial

import jax
from ml_collections import ConfigDict

from configs.released import get_config
from selftrain_jax.build.experiment import build_experiment
from selftrain_jax.build.number_types import with_usable_dtype
from selftrain_jax.data.sources.coco import COCO_CATEGORIES
from selftrain_jax.data.sources.voc_masks import CATEGORIES
from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json
from selftrain_jax.jobs.found import Model
from selftrain_jax.jobs.named_weights import import_named
from selftrain_jax.paper.released import RELEASED, VOC_VAL, Released, find_released
from selftrain_jax.pretrain.catalogue import find_weights
from selftrain_jax.run_files.model_card import CARD_FILE, REMEDY, ModelCard
from selftrain_jax.tasks.lookup import get_self_training
from selftrain_jax.train.checkpoint import restore_variables

NAMES = tuple(released.name for released in RELEASED)


def open_released(name: str, batch_size: int) -> Model:
    """Open a checkpoint of `NAMES`; its weights are downloaded into `pretrained/` if they are not there.

    Raises:
        InputError: no such name, or weights that cannot be had.
    """
    released = find_released(name)
    config = with_usable_dtype(get_config(f"name={name}"), jax.devices())
    config.eval.batch_size = batch_size
    categories = CATEGORIES if released.data_set == VOC_VAL else COCO_CATEGORIES
    weights = find_weights_folder(config, released)
    experiment = build_experiment(config, categories)
    template = jax.eval_shape(experiment.task.init, jax.random.key(0))
    variables = restore_variables(weights, "last", template)
    predictor = get_self_training(config.task).open_predictor(config, experiment.task, experiment.mesh)
    return Model(config, categories, weights, variables, partial(predictor.find, variables))


def find_weights_folder(config: ConfigDict, released: Released) -> pathlib.Path:
    """Return the folder of the imported weights; download and import them if it is not there.

    Raises:
        InputError: other weights are in it, or these cannot be had.
    """
    folder = pathlib.Path(config.pretrained.dir) / released.weights
    if not folder.exists():
        import_named(find_weights(released.weights), config, folder)
        return folder
    card = ModelCard.from_json(read_json(folder / CARD_FILE, REMEDY), folder / CARD_FILE)
    if card.name != released.weights:
        raise InputError(f"{folder} holds {card.name or card.source}, not {released.weights}; move it away")
    print(f"{released.weights}: imported before, from {card.source}, into {folder}", flush=True)
    return folder
