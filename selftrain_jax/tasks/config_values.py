"""Config values that several tasks write as text: folders, class names, thresholds by class."""

import pathlib
from collections.abc import Mapping
from typing import NamedTuple

from ml_collections import ConfigDict

from selftrain_jax.errors import InputError
from selftrain_jax.run_files.calibration import TeacherCalibration
from selftrain_jax.selftrain.checks import parse_class_thresholds
from selftrain_jax.selftrain.threshold_advice import advise

AUTO = "auto"


class LabelThresholds(NamedTuple):
    """From which scores on pseudo labels are labels, beside the common config.pseudo.threshold."""

    per_class: Mapping[str, float]  # by class name
    ignore_below: float  # boxes from here to the threshold are neither object nor background; 0: no band


def require_dir(text: str, key: str, what: str) -> pathlib.Path:
    """Return the folder that a key names.

    Raises:
        InputError: the key is empty, which as a path would be the working directory.
    """
    if not text.strip():
        raise InputError(f"{key} is empty; name the folder of {what}, as --{key}=FOLDER")
    return pathlib.Path(text)


def class_names(config: ConfigDict) -> tuple[str, ...]:
    """Return the names in config.data.classes, in order; none stands for all that occur."""
    return tuple(filter(None, config.data.classes.split(",")))


def class_thresholds_by_name(config: ConfigDict) -> dict[str, float]:
    """Read config.pseudo.per_class_thresholds, "person=0.4,car=0.6".

    Raises:
        InputError: it does not have that form, or config.pseudo.thresholds=auto contradicts it.
    """
    key = "config.pseudo.per_class_thresholds"
    check_advice_keys(config)
    return parse_class_thresholds(config.pseudo.per_class_thresholds, key)


def check_advice_keys(config: ConfigDict) -> None:
    """Check config.pseudo.thresholds and config.pseudo.precision.

    Raises:
        InputError: a value that does not exist, or auto beside per_class_thresholds or without images that
            the teacher does not train on.
    """
    pseudo, data = config.pseudo, config.data
    if pseudo.thresholds not in ("", AUTO):
        raise InputError(
            f"config.pseudo.thresholds={pseudo.thresholds!r} is neither empty nor {AUTO}; scores by class go "
            "into config.pseudo.per_class_thresholds"
        )
    if not 0 < pseudo.precision < 1:
        raise InputError(
            f"config.pseudo.precision={pseudo.precision:g} is the wanted share of right labels; expected "
            "above 0 and below 1, such as 0.9"
        )
    if pseudo.thresholds == AUTO and pseudo.per_class_thresholds:
        raise InputError(
            f"config.pseudo.thresholds={AUTO} and "
            f"config.pseudo.per_class_thresholds={pseudo.per_class_thresholds!r} contradict each other; "
            "leave one of them empty"
        )
    if pseudo.thresholds == AUTO and data.val == data.train:
        raise InputError(
            f"config.pseudo.thresholds={AUTO} needs labelled images that the teacher does not train on, but "
            f"config.data.val={data.val!r} is config.data.train too. Name another split as config.data.val, "
            "or set config.pseudo.threshold yourself."
        )


def student_thresholds(config: ConfigDict, calibration: TeacherCalibration | None = None) -> LabelThresholds:
    """Return the thresholds of the student's labels: those of the config or, with auto, the advised ones.

    With auto, config.pseudo.ignore_below gives way to the advice as well.

    Raises:
        InputError: the keys contradict each other, or auto without the teacher's calibration.
    """
    per_class = class_thresholds_by_name(config)
    if config.pseudo.thresholds != AUTO:
        return LabelThresholds(per_class, config.pseudo.ignore_below)
    if calibration is None:
        raise InputError(
            f"config.pseudo.thresholds={AUTO} needs the teacher's calibration, which is not there yet; run "
            "--job=thresholds first, or the default job, which does all in order"
        )
    advice = advise(calibration, config.pseudo.precision, config.pseudo.threshold)
    return LabelThresholds(advice.thresholds, advice.ignore_below)
