"""`--job=pretrain`: train a backbone on whole images, so that detectors can start from it.

It learns to classify them, or with config.pretrain.objective=simclr without labels.

The checkpoint's `backbone/...` is what `--config.teacher.init=<workdir>/pretrain` takes.
"""

import dataclasses
import functools
import pathlib

import jax
from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.build.experiment import Experiment
from selftrain_jax.build.pretraining import (
    build_pretrain_batches,
    build_pretrain_schedule,
    build_pretrain_sources,
    build_pretraining,
    get_objective,
)
from selftrain_jax.data.sampling import generator_permutation, raw_permutation
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.io import write_json
from selftrain_jax.run_files.evaluation import EVALUATION_FILE, Evaluation
from selftrain_jax.run_files.revision import code_revision
from selftrain_jax.run_files.stage import STAGE_FILE, StageRecord
from selftrain_jax.run_files.variants import CONFIG_FILE
from selftrain_jax.stages.inputs import labels_digest
from selftrain_jax.stages.records import (
    OLD_METHODS,
    VAL,
    differences,
    make_record,
    read_record,
    refuse,
    write_record,
)
from selftrain_jax.stages.settings import deciding_settings
from selftrain_jax.stages.versions import versions
from selftrain_jax.tasks.classification.inference import Measure
from selftrain_jax.train.checkpoint import find_step, restore_variables, training_cost, training_secs
from selftrain_jax.train.loop import train
from selftrain_jax.train.sharding import shard_batch
from selftrain_jax.types import Variables

STAGE = "pretrain"


def run_pretrain(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Train to the last step, then measure on val; resumes, and skips what is finished.

    Raises:
        InputError: data or config do not fit.
    """
    if "pretrain" not in config:
        raise InputError("--job=pretrain needs the config group `pretrain`; use --config=configs/pretrain.py")
    directory = workdir / STAGE
    train_source, val = build_pretrain_sources(config)
    objective = get_objective(config)
    record = StageRecord.from_json(
        hosts.run_on_host0(lambda: _check(config, directory, train_source, val).to_json()),
        directory / STAGE_FILE,
    )
    if hosts.run_on_host0((directory / EVALUATION_FILE).exists):
        return hosts.log(f"{STAGE}: finished before, in {directory}")
    is_ramp = record.methods.get("ema") != "constant"
    experiment = build_pretraining(config, train_source.categories, ema_ramp=is_ramp)
    measure = objective.make_measure(config, experiment.task, experiment.mesh, train_source, val)
    names = [category._asdict() for category in train_source.categories]

    def claim() -> None:
        write_record(directory, record)
        write_json(workdir / CONFIG_FILE, config.to_dict())
        write_json(workdir / "categories.json", names)

    hosts.run_on_host0(claim)
    _train(config, experiment, train_source, measure, directory, record)
    return _evaluate(config, experiment, val, measure, directory)


def _check(config: ConfigDict, directory: pathlib.Path, train_source: Source, val: Source) -> StageRecord:
    """Return the record of this pre-training, if the folder has no other; one without is an older version's.

    Raises:
        InputError: it has another; the keys that differ are shown.
    """
    objective = get_objective(config)
    inputs = {"train images": objective.digest(train_source), VAL: labels_digest(val)}
    settings = deciding_settings(config, STAGE, objective.idle_keys)
    wanted = make_record(STAGE, settings, inputs, versions(), code_revision())
    found = read_record(directory)
    if found is None:
        is_old = (directory / "checkpoints").exists()
        return dataclasses.replace(wanted, methods=OLD_METHODS) if is_old else wanted
    differing = differences(found, wanted, config.eval.checkpoint)
    if differing:
        way_out = "Use the same settings, or another --workdir."
        raise refuse(directory, differing, "pre-training", [], way_out)
    return found


def _train(
    config: ConfigDict,
    experiment: Experiment,
    source: Source,
    measure: Measure,
    directory: pathlib.Path,
    record: StageRecord,
) -> None:
    is_old = record.methods.get("sampling") == "generator"
    permutation = generator_permutation if is_old else raw_permutation
    place, objective = functools.partial(shard_batch, experiment.mesh), get_objective(config)

    def curve_point(variables: Variables) -> dict[str, float]:
        result = measure(variables)
        return {f"eval/{key}": result[key] for key in objective.curve if key in result}

    train(
        name=STAGE,
        train_step=experiment.train_step,
        new_state=experiment.new_state,
        state_shapes=jax.eval_shape(experiment.new_state),
        schedule=build_pretrain_schedule(config),
        batches=build_pretrain_batches(config, source, permutation=permutation, place=place),
        num_steps=config.pretrain.steps,
        directory=directory,
        mesh=experiment.mesh,
        evaluate=curve_point,
        evaluate_every=config.eval.every_steps,
        checkpoint_every=config.checkpoint.every_steps,
        log_every=config.log.every_steps,
        best_metric=f"eval/{objective.headline(source)}",
        keep=config.checkpoint.keep,
        max_rollbacks=config.optimizer.max_rollbacks,
        tensorboard=config.log.tensorboard,
        shown=objective.shown,
    )


def _evaluate(
    config: ConfigDict, experiment: Experiment, val: Source, measure: Measure, directory: pathlib.Path
) -> None:
    """Measure the checkpoint of config.eval.checkpoint and write evaluation.json."""
    template = jax.eval_shape(experiment.task.init, jax.random.key(0))
    which, objective = config.eval.checkpoint, get_objective(config)
    step = find_step(directory, which)
    result = measure(restore_variables(directory, which, template))
    cost = training_cost(directory)
    facts = {
        "split": val.name,
        "checkpoint_step": step,
        "checkpoint": f"{STAGE}/checkpoints/{step}",
        "training_secs": training_secs(directory),
        **({"cost": cost.to_json()} if cost else {}),
    }
    path = directory / EVALUATION_FILE
    evaluation = Evaluation.from_json({**result, **facts}, path, objective.details)
    hosts.run_on_host0(lambda: write_json(path, evaluation.to_json()))
    print(
        f"{STAGE}: {objective.describe(evaluation)} of "
        f"{evaluation.num_images} images at step {step}; start a detector from it by "
        f"--config.teacher.init={directory}"
    )
