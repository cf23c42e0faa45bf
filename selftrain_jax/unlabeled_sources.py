"""Further sources of unlabelled images beside the first, `config.unlabeled.also`; call `further_sources`.

A source is a group of the config with the keys of `SOURCE_KEYS`. A config file adds one by
`config.unlabeled.also.coco = unlabeled_source(kind="coco", dir="coco")`, the command line by setting its
keys, `--config.unlabeled.also.coco.kind=coco`.
"""

import difflib
import math
import re
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from selftrain_jax.errors import InputError
from selftrain_jax.text import FIRST_SOURCE, shorten_list

GROUP = "unlabeled.also"
PSEUDO = -1.0
"""The threshold of a source that has those of config.pseudo."""

SOURCE_KEYS: dict[str, Any] = {
    # As in config.unlabeled; none leaves the source out.
    "kind": "folder",
    "dir": "",
    "images": "",
    "annotations": "",
    "tfds": "",
    "split": "train",
    "limit": 0,
    # Its share of the student's pseudo-labelled images is weight / sum of all weights.
    "weight": 1.0,
    # -1: config.pseudo's thresholds. Else the source's own, for all classes, in place of these.
    "threshold": PSEUDO,
    "per_class_thresholds": "",  # "person=0.4,car=0.6", for these classes in place of either
}


def unlabeled_source(**values: Any) -> ConfigDict:
    """Return a further source with these values and the defaults of `SOURCE_KEYS`.

    Raises:
        InputError: there is no such key.
    """
    for key in values:
        _check_key(key, f"{GROUP}.NAME")
    return ConfigDict({**SOURCE_KEYS, **values})


def further_sources(config: ConfigDict) -> dict[str, ConfigDict]:
    """Return the groups of the further sources by name, in the order of the names; without kind=none.

    A supervised run (config.unlabeled.kind=none) has none. A config of an older version lacks the key.
    """
    if config.unlabeled.kind == "none":
        return {}
    groups = config.unlabeled.get("also", {})
    return {name: groups[name] for name in sorted(groups) if groups[name].get("kind") != "none"}


def source_weights(config: ConfigDict) -> dict[str, float]:
    """Return the weight of every source by name, the first one's first."""
    further = {name: float(group.weight) for name, group in further_sources(config).items()}
    return {FIRST_SOURCE: float(config.unlabeled.get("weight", 1.0)), **further}


def check_further_sources(config: ConfigDict) -> None:
    """Check names, keys and weights of all sources; no data set is opened.

    Raises:
        InputError: naming the key.
    """
    groups = config.unlabeled.also
    taken = {FIRST_SOURCE: "the first source, config.unlabeled,"}
    for name in sorted(groups):
        _check_name(name, taken)
        taken[name.lower()] = f"config.{GROUP}.{name}"
        if not isinstance(groups[name], ConfigDict):
            raise InputError(
                f"config.{GROUP}.{name}={groups[name]!r} is not a group of keys; write "
                f'config.{GROUP}.{name} = unlabeled_source(kind="folder", dir="FOLDER")'
            )
        for key in groups[name]:
            _check_key(key, f"{GROUP}.{name}")
        missing = sorted(set(SOURCE_KEYS) - set(groups[name]))
        if missing:
            raise InputError(
                f"config.{GROUP}.{name} lacks {shorten_list(missing, 9)}; make it by unlabeled_source(...), "
                "which fills in what is not given"
            )
    _check_weight("unlabeled.weight", config.unlabeled.weight)
    for name, group in further_sources(config).items():
        _check_weight(f"{GROUP}.{name}.weight", group.weight)
        if group.threshold != PSEUDO and not 0 <= group.threshold <= 1:
            raise InputError(
                f"config.{GROUP}.{name}.threshold={group.threshold:g} is not a score; expected 0 to 1, or "
                f"{PSEUDO:g} for the thresholds of config.pseudo"
            )


def add_asked_sources(config: ConfigDict, argv: Sequence[str]) -> None:
    """Add the sources whose keys a command line sets, `--config.unlabeled.also.NAME.KEY=VALUE`.

    Raises:
        InputError: a name that cannot be one, or a key that sources do not have.
    """
    if "unlabeled" not in config or "also" not in config.unlabeled:
        return
    for argument in argv:
        path = argument.partition("=")[0]
        if not path.startswith(f"--config.{GROUP}."):
            continue
        name, _, key = path.removeprefix(f"--config.{GROUP}.").partition(".")
        _check_name(name, {FIRST_SOURCE: "the first source, config.unlabeled,"})
        _check_key(key, f"{GROUP}.{name}")
        if name not in config.unlabeled.also:
            with config.unlocked():
                config.unlabeled.also[name] = unlabeled_source()


def _check_name(name: str, taken: dict[str, str]) -> None:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise InputError(
            f"config.{GROUP}: a source cannot be called {name!r:.60}; names begin with a letter and have "
            "letters, digits and _ alone, such as coco"
        )
    if name.lower() in taken:
        raise InputError(
            f"config.{GROUP}.{name}: {taken[name.lower()]} is called so already; choose another name"
        )


def _check_key(key: str, group: str) -> None:
    if key not in SOURCE_KEYS:
        near = difflib.get_close_matches(key, SOURCE_KEYS, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; it has {shorten_list([*SOURCE_KEYS], 12)}"
        raise InputError(f"config.{group} has no key {key!r:.60}{hint}")


def _check_weight(key: str, weight: float) -> None:
    if not 0 < weight < math.inf:
        raise InputError(
            f"config.{key}={weight:g} is the source's part of the student's pseudo-labelled images, beside "
            "the weights of the others; expected a number above 0 (kind=none leaves a further source out)"
        )
