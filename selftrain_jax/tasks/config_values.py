"""Config values that several tasks write as text: folders, class names, thresholds by class."""

import pathlib

from ml_collections import ConfigDict

from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.checks import parse_class_thresholds


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
        InputError: it does not have that form.
    """
    key = "config.pseudo.per_class_thresholds"
    return parse_class_thresholds(config.pseudo.per_class_thresholds, key)
