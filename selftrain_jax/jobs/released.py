"""`--job=evaluate_released`: a released checkpoint imported, evaluated and compared with what is published.

The configs are `configs/released.py`, the published numbers `paper/released.py`.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.build.data import log_notes
from selftrain_jax.build.experiment import build_experiment
from selftrain_jax.build.number_types import with_usable_dtype
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.io import write_json
from selftrain_jax.jobs.released_model import find_weights_folder
from selftrain_jax.paper.comparison import compare, format_comparison, suspects
from selftrain_jax.paper.released import DataSet, Setting, released_of_weights
from selftrain_jax.run_files.evaluation import EVALUATION_FILE, Evaluation
from selftrain_jax.tasks.lookup import get_self_training, get_task
from selftrain_jax.train.checkpoint import restore_variables

COMPARISON_FILE = "comparison.json"


def run_evaluate_released(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Measure the checkpoint of config.import_weights.name on the test split; write and print the comparison.

    Each setting has a folder in `workdir`, with evaluation.json and what was predicted.

    Raises:
        InputError: no published number, no data, classes of another number than the network's, or weights
            that cannot be had or do not fit.
    """
    released = released_of_weights(config.import_weights.name)
    source = get_task(config.task).open_split(config, "data", config.data.test)
    log_notes([source])
    check_classes(source, released.data_set)
    weights = hosts.run_on_host0(lambda: str(find_weights_folder(config, released)))
    scores: dict[str, Mapping[str, float]] = {}
    for setting in {number.setting.folder: number.setting for number in released.numbers}.values():
        hosts.log(f"{released.weights}: {setting.folder}, {len(source):,} images of {source.name}")
        scores[setting.folder] = _evaluate(config, source, pathlib.Path(weights), setting, workdir)
    compared = compare(released, scores)
    causes = suspects(released, compared, len(source))
    content = {
        "name": released.name,
        "weights": released.weights,
        "tolerance": released.data_set.tolerance,
        "num_images": len(source),
        "numbers": [row._asdict() for row in compared],
        "suspects": causes,
    }
    hosts.run_on_host0(lambda: write_json(workdir / COMPARISON_FILE, content))
    hosts.log(format_comparison(released, compared, causes))


def check_classes(source: Source, data_set: DataSet) -> None:
    """See that labels have the ids that the network predicts. Raises: InputError: they have others."""
    num_classes = max(category.id for category in source.categories) + 1
    if num_classes != data_set.num_classes:
        raise InputError(
            f"{source.name}: class ids up to {num_classes - 1}; the released network predicts those of "
            f"{data_set.name}, up to {data_set.num_classes - 1}. Use its own annotations, with their ids"
        )


def _evaluate(
    config: ConfigDict, source: Source, weights: pathlib.Path, setting: Setting, workdir: pathlib.Path
) -> Mapping[str, float]:
    """Evaluate in one setting; write its folder and return the scores."""
    folder = workdir / setting.folder
    config = with_usable_dtype(config, jax.devices()).copy_and_resolve_references()
    config.postprocess.update(setting.postprocess)
    experiment = build_experiment(config, source.categories)
    template = jax.eval_shape(experiment.task.init, jax.random.key(0))
    variables = restore_variables(weights, "last", template)
    predictor = get_self_training(config.task).open_predictor(config, experiment.task, experiment.mesh)
    hosts.run_on_host0(lambda: folder.mkdir(parents=True, exist_ok=True))
    result = predictor.evaluate(variables, source, folder)
    facts: dict[str, Any] = {
        "split": source.name,
        "num_images": len(source),
        "checkpoint_step": 0,
        "checkpoint": str(weights),
        "training_secs": 0.0,
    }
    path, details = folder / EVALUATION_FILE, get_task(config.task).evaluation_details
    evaluation = Evaluation.from_json({**result, **facts}, path, details)
    hosts.run_on_host0(lambda: write_json(path, evaluation.to_json()))
    return evaluation.scores
