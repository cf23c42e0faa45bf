"""Folders of older versions, which belong to one config.json, get a stage.json in each stage's folder.

Older versions refused every command of another config, so what is in such a folder was made with that one.
"""

import dataclasses
import json
import pathlib
from typing import Any

from ml_collections import ConfigDict

from selftrain_jax.command_line import flatten
from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json, write_json
from selftrain_jax.jobs.claims import finish_labels, finish_training
from selftrain_jax.jobs.run import Run
from selftrain_jax.jobs.stage_state import stages_of, wanted_evaluation, wanted_record
from selftrain_jax.run_files.evaluation import EVALUATION_FILE
from selftrain_jax.run_files.fields import JsonObject
from selftrain_jax.run_files.manifest import MANIFEST_FILE
from selftrain_jax.run_files.stage import EVALUATION_STAGE_FILE, STAGE_FILE, StageRecord
from selftrain_jax.run_files.variants import CONFIG_FILE
from selftrain_jax.stages.graph import Stage
from selftrain_jax.stages.records import OLD_METHODS, write_record
from selftrain_jax.stages.settings import BEFORE, is_among

DATA_KEYS = ("data", "unlabeled", "joint")
ADDED_KEYS = ("unlabeled.also",)  # what a config lacks of them it did without
FREE_DATA_KEYS = ("data.cache_mib", "data.max_bad_images", "data.max_stall_secs")


def convert_old_folder(run: Run) -> None:
    """Write the records of stages that an older version made, by the config that the folder belonged to.

    Raises:
        InputError: nothing says what made them, or the data are named differently now.
    """
    stages = find_old_stages(run)
    if not stages:
        return
    old_run = with_old_config(run, stages[0])
    for stage in stages:
        _convert(old_run, stage)
    write_json(run.workdir / CONFIG_FILE, old_run.config.to_dict())
    print(f"converted: {run.workdir} is of an older version; its stages have a stage.json now", flush=True)


def find_old_stages(run: Run) -> list[Stage]:
    """List the stages that an older version made and that have no record yet."""
    return [stage for stage in stages_of(run) if _is_old(run.workdir / stage.folder)]


def with_old_config(run: Run, stage: Stage) -> Run:
    """Return the run by the config that its folder belonged to.

    Raises:
        InputError: as `convert_old_folder`.
    """
    return dataclasses.replace(run, config=_read_old_config(run, stage))


def old_record(run: Run, stage: Stage) -> StageRecord:
    """Return the record, without results, of a stage that an older version made; `run` has its config."""
    record = dataclasses.replace(wanted_record(run, stage), methods=OLD_METHODS)
    if stage.kind != "labels":
        return record
    teacher = _labelled_by(run.workdir / stage.folder)
    return dataclasses.replace(record, inputs={**record.inputs, "teacher": teacher})


def _is_old(folder: pathlib.Path) -> bool:
    made = ("checkpoints", EVALUATION_FILE, "job.json", MANIFEST_FILE)
    return not (folder / STAGE_FILE).exists() and any((folder / name).exists() for name in made)


def _read_old_config(run: Run, stage: Stage) -> ConfigDict:
    """Return the folder's config, completed by keys that the old version did not have, with what it did."""
    path = run.workdir / CONFIG_FILE
    where = f"{run.workdir / stage.folder} has no {STAGE_FILE}"
    found = read_json(path, f"{where} and nothing else says what made it; choose another --workdir")
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no config, and {where}; choose another --workdir")
    now = flatten(json.loads(json.dumps(run.config.to_dict())))
    then = flatten(found)
    differing = [
        f"  config.{key}: {then.get(key)!r} then, {value!r} now"
        for key, value in now.items()
        if is_among(key, DATA_KEYS)
        and not is_among(key, FREE_DATA_KEYS)
        and then.get(key, None if is_among(key, ADDED_KEYS) else value) != value
    ]
    if differing:
        raise InputError(
            f"{run.workdir} was made by an older version, which knew data by their config keys alone:\n"
            + "\n".join(differing)
            + "\nRun the command once with the keys as they were, then they may change."
        )
    return complete_config(found, run.config)


def complete_config(stored: JsonObject, now: ConfigDict) -> ConfigDict:
    """Add the keys that a stored config is too old to have: as things were then, else as they are now.

    Keys of a group that neither has, as `pretrain` in a run of self-training, are left out.
    """
    completed = ConfigDict(_merge(now.to_dict(), stored))
    known, groups = flatten(stored), completed.keys()
    missing = {key: then for key, then in BEFORE.items() if key not in known and key.split(".")[0] in groups}
    completed.update_from_flattened_dict(missing)
    return completed


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        is_group = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if is_group else value
    return merged


def _convert(run: Run, stage: Stage) -> None:
    """Write a stage's record, with its results where it is finished."""
    folder, record = run.workdir / stage.folder, old_record(run, stage)
    write_record(folder, record)
    if stage.kind == "labels":
        if (folder / MANIFEST_FILE).exists():
            finish_labels(run, stage, record)
    elif (folder / EVALUATION_FILE).exists():
        finish_training(run, stage, record)
        write_record(folder, wanted_evaluation(run, stage), EVALUATION_STAGE_FILE)


def _labelled_by(folder: pathlib.Path) -> str:
    """Return the digest of the teacher that labels were begun by."""
    job = read_json(folder / "job.json", "nothing else says whose labels these are; delete the folder")
    return str(job["teacher_digest"]) if isinstance(job, dict) and "teacher_digest" in job else ""
