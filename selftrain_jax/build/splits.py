"""Who of the labelled images is train, val and test, as config.data says; call `open_parts`."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.data.groups import compile_pattern, divide, group_images, label_groups
from selftrain_jax.data.source import Source, label_fraction, subset
from selftrain_jax.errors import InputError
from selftrain_jax.tasks.config_values import split_names

PART_NAMES = ("train", "val", "test")


class Parts(NamedTuple):
    """The labelled images by what they are for."""

    train: Source  # whole: `labelled_part` says which labels are used
    val: Source
    test: Source | None  # None where a gold set is measured in its place


def check_keys(config: ConfigDict) -> None:
    """Check config.data.split and config.data.group_by before data are opened. Raises: InputError."""
    if config.data.group_by:
        compile_pattern(config.data.group_by, "config.data.group_by")
    if config.data.split:
        split_fractions(config)


def check_split_keys(config: ConfigDict) -> None:
    """Check the keys of a run, which tests on something. Raises: InputError."""
    data = config.data
    check_keys(config)
    if data.split and not split_fractions(config)[2] and not data.gold:
        raise InputError(
            f"config.data.split={data.split} leaves no image to test on; give test a share, as 0.7,0.1,0.2, "
            "or name a gold set that is measured in its place: --config.data.gold=FILE (--job=gold draws it)"
        )


def split_fractions(config: ConfigDict) -> tuple[float, float, float]:
    """Read config.data.split, the shares of train, val and test.

    Raises:
        InputError: they are not three numbers from 0, of a sum up to 1, train and val above 0.
    """
    text = config.data.split
    expected = (
        "expected the shares of train, val and test with a sum up to 1, as --config.data.split=0.7,0.1,0.2"
    )
    try:
        fractions = tuple(float(part) for part in text.split(","))
    except ValueError:
        fractions = ()
    if len(fractions) != len(PART_NAMES) or not all(map(math.isfinite, fractions)):
        raise InputError(f"config.data.split={text!r}; {expected}")
    train, val, test = fractions
    if min(fractions) < 0 or not train or not val:
        raise InputError(f"config.data.split={text}: train and val need images; {expected}")
    if sum(fractions) > 1 + 1e-9:
        hint = ": are they percentages?" if sum(fractions) > 2 else ""
        raise InputError(f"config.data.split={text} sums to {sum(fractions):g}{hint}; {expected}")
    return train, val, test


def open_parts(config: ConfigDict, open_split: Callable[[str], Source]) -> Parts:
    """Open the labelled images and say who is what; logs what config.data.split made.

    Raises:
        InputError: a split is missing or malformed, or as `assign_parts`.
    """
    return assign_parts(config, {name: open_split(name) for name in split_names(config)})


def assign_parts(config: ConfigDict, opened: Mapping[str, Source]) -> Parts:
    """Return train, val and test from the splits that are open, all of `split_names`.

    Raises:
        InputError: config.data.split or group_by do not fit these images.
    """
    data = config.data
    train = opened[data.train]
    if not data.split:
        return Parts(train, opened[data.val], opened.get(data.test))
    groups = _groups_of(config, train)
    division = divide(groups, split_fractions(config), seed=config.seed)
    hosts.log(_describe(config, train, groups, division))
    parts = (
        subset(train, indices, f"{train.name}, {name} of {data.split}")
        for name, indices in zip(PART_NAMES, division, strict=True)
    )
    return Parts(*parts)


def train_part(config: ConfigDict, train: Source) -> Source:
    """Return what config.data.split leaves to train on of a split. Raises: InputError, as `assign_parts`."""
    return assign_parts(config, {config.data.train: train}).train if config.data.split else train


def _describe(config: ConfigDict, source: Source, groups: np.ndarray, division: tuple) -> str:
    counts = [len(indices) for indices in division]
    listed = ", ".join(f"{name} {count:,}" for name, count in zip(PART_NAMES, counts, strict=True))
    line = f"data.split={config.data.split} of the {len(source):,} images of {source.name}: {listed}"
    if config.data.group_by:
        of_groups = [len(set(groups[indices].tolist())) for indices in division]
        listed = ", ".join(f"{name} {count:,}" for name, count in zip(PART_NAMES, of_groups, strict=True))
        line += f"; of {len(set(groups.tolist())):,} groups: {listed}"
    left = len(source) - sum(counts)
    line += f"; {left:,} images are in none" if left else ""
    if config.data.gold and counts[2]:
        line += "; test is not measured, as the gold set is"
    return line


def _groups_of(config: ConfigDict, source: Source) -> np.ndarray:
    return group_images(source, config.data.group_by) if config.data.group_by else np.arange(len(source))


def labelled_part(config: ConfigDict, train: Source) -> Source:
    """Return the images of train that keep their labels, config.data.label_percent of them."""
    labelled, _ = split_by_label(config, train)
    return subset(train, labelled, f"{train.name}, {config.data.label_percent:g} % labelled")


def split_by_label(config: ConfigDict, train: Source) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of train's images that keep their labels, and of the others.

    Raises:
        InputError: the percentage or config.data.group_by does not fit.
    """
    data = config.data
    if not data.group_by:
        return label_fraction(len(train), data.label_percent, seed=config.seed, fold=data.label_fold)
    # Groups that were divided may leave one in train: whether the regex tells images apart was seen then.
    groups = group_images(train, data.group_by, is_whole=not data.split)
    return label_groups(groups, data.label_percent, seed=config.seed, fold=data.label_fold)
