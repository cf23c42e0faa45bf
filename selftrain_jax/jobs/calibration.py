"""How precise the teacher's labels are on data.val, measured once for each teacher; call `calibrate`."""

import dataclasses
import pathlib
from collections.abc import Sequence

from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.data.source import Source, subset
from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json, write_json
from selftrain_jax.run_files.calibration import (
    CALIBRATION_FILE,
    REMEDY,
    TeacherCalibration,
    TeacherIdentity,
)
from selftrain_jax.run_files.fields import JsonObject, to_json
from selftrain_jax.selftrain.calibration import Counted, add_curves, hash_labels
from selftrain_jax.selftrain.label_job import pair_with_found
from selftrain_jax.tasks.spec import Predictor, SelfTraining
from selftrain_jax.train.checkpoint import digest
from selftrain_jax.types import Variables


def calibrate(
    config: ConfigDict,
    folder: pathlib.Path,
    *,
    val: Source,
    self_training: SelfTraining,
    predictor: Predictor,
    teacher: tuple[Sequence[Variables], int],
    replace: bool,
) -> TeacherCalibration:
    """Return the calibration of a teacher from its folder, or measured and written.

    `teacher` is the models that label together, its own the last, and its step.

    A file of another teacher, other labelled images or other label settings is measured again with
    `replace`, else refused.

    Raises:
        InputError: val has no image or is what the teacher was trained on, an image of it is unusable, or
            the file is damaged or is not this teacher's.
    """
    check_val(config, val)
    models, step = teacher
    labeller = predictor.labeller(models, val)
    identity = {
        "teacher": to_json(TeacherIdentity(digest=_digest(models), step=step)),
        "data_sha256": hosts.run_on_host0(lambda: hash_labels(val)),
        "settings": {**to_json(labeller.settings), **to_json(self_training.label_settings(config))},
    }
    path = folder / CALIBRATION_FILE
    found = hosts.run_on_host0(lambda: _read_matching(path, identity, replace))
    if found is not None:
        return TeacherCalibration.from_json(found, path)
    counted = _count(val, self_training, predictor, models)
    by_host = [
        TeacherCalibration.from_json(part, path) for part in hosts.gather(_describe(counted, val) | identity)
    ]
    whole = dataclasses.replace(by_host[0], curves=add_curves([part.curves for part in by_host]))
    hosts.run_on_host0(lambda: write_json(path, whole.to_json()))
    return whole


def check_val(config: ConfigDict, val: Source) -> None:
    """Refuse images that say nothing about unlabelled ones.

    Raises:
        InputError: there are none, or the teacher was trained on them.
    """
    data = config.data
    if data.val == data.train:
        raise InputError(
            f"config.data.val={data.val!r} is config.data.train too: on images that it was trained on a "
            "teacher is more often right than on others. Name another labelled split as config.data.val."
        )
    if not len(val):
        raise InputError(
            f"{val.name} has no image; thresholds need labelled images that the teacher was not trained on. "
            "Name another split as config.data.val."
        )
    if data.val == data.test:
        hosts.log(
            f"warning: config.data.val and config.data.test are both {data.val!r}: a student that is "
            "measured on the images by which its thresholds were chosen looks better than it is"
        )


def _read_matching(path: pathlib.Path, identity: JsonObject, replace: bool) -> JsonObject | None:
    """Return what the file holds if it was measured as `identity` says; None if it is to be measured."""
    if not path.exists():
        return None
    calibration = TeacherCalibration.from_json(read_json(path, REMEDY), path).to_json()
    differing = [key for key, value in identity.items() if calibration[key] != value]
    if not differing:
        return calibration
    words = {
        "teacher": "another teacher",
        "data_sha256": "other labelled images",
        "settings": "labels made otherwise",
    }
    found = ", ".join(words[key] for key in differing)
    if replace:
        print(f"thresholds: {path} is of {found}; it is measured again")
        return None
    raise InputError(
        f"{path} is of {found}: it holds {_shorten(calibration, differing)}, expected "
        f"{_shorten(identity, differing)}. --job=thresholds measures it again."
    )


def _shorten(values: JsonObject, keys: list[str]) -> str:
    return ", ".join(f"{key} {values[key]!s:.99}" for key in keys)


def _digest(models: Sequence[Variables]) -> str:
    """Identify the models that label together by their weights."""
    return ",".join(map(digest, models))


def _count(
    val: Source, self_training: SelfTraining, predictor: Predictor, models: Sequence[Variables]
) -> Counted:
    """Label this host's part of val as the unlabelled images are labelled, and compare."""
    part = subset(val, hosts.shard_range(len(val)), val.name)
    labeller = predictor.labeller(models, part)
    return self_training.count_right(pair_with_found(part, labeller), val.categories, labeller.settings)


def _describe(counted: Counted, val: Source) -> JsonObject:
    return {
        "split": val.name,
        "num_images": len(val),
        "unit": counted.unit,
        "trials": counted.trials,
        "ignored_below": counted.ignored_below,
        "cuts": counted.cuts.tolist(),
        "curves": to_json(counted.curves),
    }
