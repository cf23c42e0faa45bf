"""Parts of a data set by seed, in which the images of a group (a video, a scene, a patient) stay together.

Call `group_images`, then `divide`, `label_groups` or `draw_groups`. Without groups every image is its own.
All draw from one permutation of the groups, of raw PCG64 as in `source.label_fraction`: the same on every
platform. Not in the paper, whose data sets have splits.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from selftrain_jax.data.source import Source, label_fraction
from selftrain_jax.errors import InputError
from selftrain_jax.text import shorten_list

# Third word of the seed; `label_fraction` has 0 there, the order of batches 1 (data/sampling.py).
_LABELS, _SPLIT, _GOLD = 0, 2, 3
_LONGEST_NAME = 100  # characters of a name in a message

Groups = Int[np.ndarray, "_"]  # the number of each image's group, from 0
Indices = Int[np.ndarray, "_"]


class Division(NamedTuple):
    """The images of each part, sorted; those of none are left over."""

    train: Indices
    val: Indices
    test: Indices


def image_name(source: Source, index: int) -> str:
    """Return an image's file name below its folder where the data set states one, else its id."""
    return source.file_names[index] if source.file_names else source.image_ids[index]


def compile_pattern(pattern: str, key: str) -> re.Pattern[str]:
    """Compile a regular expression. Raises: InputError, with the config `key` and what is wrong with it."""
    try:
        return re.compile(pattern)
    except re.error as error:
        raise InputError(
            f"{key}={pattern!r} is no regular expression: {error}. Expected one of Python's, as "
            r"'^(.+)_\d+' for seq12_000341.jpg, in quotes for the shell."
        ) from None


def group_images(
    source: Source, pattern: str, key: str = "config.data.group_by", *, is_whole: bool = True
) -> Groups:
    """Number the group of each image by a regular expression, in the order of the groups' names.

    An image's group is what the first group of `pattern`, or else the whole match, finds in `image_name`.
    A part of a data set (`is_whole=False`) may be one group.

    Raises:
        InputError: `pattern` is no regular expression, finds nothing in a name, or the same in all of them.
    """
    compiled = compile_pattern(pattern, key)
    names = [image_name(source, index) for index in range(len(source))]
    found = [group_name(compiled, name) for name in names]
    missed = [_shown(name) for name, group in zip(names, found, strict=True) if group is None]
    if missed:
        raise InputError(
            f"{key}={pattern!r} finds nothing in {len(missed)} of the {len(names)} names of {source.name}: "
            f"{shorten_list(missed)}. Every image needs a group; add these names' form, as '^(FORM|OTHER)'."
        )
    if is_whole and len(set(found)) == 1:
        raise InputError(
            f"{key}={pattern!r} puts all {len(names)} images of {source.name} into one group, "
            f"{_shown(str(found[0]))}, as {_shown(names[0])}; expected a part of the name that differs from "
            "group to group."
        )
    return np.unique(np.array(found, object).astype(str), return_inverse=True)[1].reshape(-1)


def group_name(pattern: re.Pattern[str], name: str) -> str | None:
    """Return what the first group, or the whole match, finds in a name; None for nothing."""
    match = pattern.search(name)
    if match is None:
        return None
    return match[1] if pattern.groups else match[0]


def divide(groups: Groups, fractions: Sequence[float], *, seed: int) -> Division:
    """Divide images into train, val and test, as near to the fractions as whole groups allow.

    In the order of the permutation, test takes the groups that bring it nearer to its share, then val does;
    train does from the other end, or takes all that is left where the fractions sum to 1. So test does not
    depend on the other fractions, and where groups are single images a larger train holds a smaller one. A
    part of a fraction above 0 has one group at least.

    Raises:
        InputError: there are fewer groups than parts.
    """
    sizes, order = np.bincount(groups), _permutation(groups, (seed, 0, _SPLIT))
    num_parts = sum(fraction > 0 for fraction in fractions)
    if len(order) < num_parts:
        raise InputError(
            f"{len(order)} groups (or single images) cannot be divided into {num_parts} parts; expected at "
            "least as many groups as parts. Choose a finer config.data.group_by, or add images."
        )
    train_frac, val_frac, test_frac = fractions
    parts = {"test": test_frac, "val": val_frac, "train": train_frac}
    taken: dict[str, list[int]] = {}
    for number, (part, fraction) in enumerate(parts.items()):
        reserved = sum(later > 0 for later in list(parts.values())[number + 1 :])
        if part == "train" and sum(fractions) > 1 - 1e-9:
            taken[part] = order
        else:
            most = len(order) - reserved if fraction > 0 else 0
            from_end = order[::-1] if part == "train" else order
            taken[part] = _take_nearest(from_end, sizes, fraction * len(groups), most)
        order = [group for group in order if group not in set(taken[part])]
    return Division(*(np.flatnonzero(np.isin(groups, taken[part])) for part in ("train", "val", "test")))


def label_groups(groups: Groups, percent: int | float, *, seed: int, fold: int) -> tuple[Indices, Indices]:
    """Split images into about `percent` % labelled ones and the remainder, both sorted, by whole groups.

    The labelled part is the first groups of one permutation for each seed and fold, as many as come nearest,
    at least one and, below 100 %, not all: so the 1 % of a fold is part of its 2 %.

    Raises:
        InputError: as `source.label_fraction`; or only one group is there to be split.
    """
    everything, nothing = label_fraction(len(groups), percent, seed=seed, fold=fold)
    if percent == 100:
        return everything, nothing
    sizes, order = np.bincount(groups), _permutation(groups, (seed, fold, _LABELS))
    if len(order) < 2:
        raise InputError(
            f"config.data.label_percent={percent:g}: all images to train on are one group of "
            "config.data.group_by, which cannot be split; set label_percent=100 or choose finer groups."
        )
    counts = np.cumsum(sizes[order])[:-1]
    num_groups = 1 + int(np.argmin(np.abs(counts - len(groups) * percent / 100)))
    is_labelled = np.isin(groups, order[:num_groups])
    return np.flatnonzero(is_labelled), np.flatnonzero(~is_labelled)


def draw_groups(groups: Groups, count: int, *, seed: int) -> Indices:
    """Draw about `count` images by whole groups, sorted; one group at least is left.

    With single images they are `count`, and the first ones of a larger draw by the same seed.
    """
    order = _permutation(groups, (seed, 0, _GOLD))
    taken = _take_nearest(order, np.bincount(groups), float(count), len(order) - 1)
    return np.flatnonzero(np.isin(groups, taken))


def _permutation(groups: Groups, words: tuple[int, int, int]) -> list[int]:
    """Permute the numbers of the groups by sorting raw PCG64 output."""
    bits = np.random.PCG64(np.random.SeedSequence(words))
    return np.argsort(bits.random_raw(int(groups.max()) + 1), kind="stable").tolist()


def _take_nearest(order: Sequence[int], sizes: Int[np.ndarray, " G"], target: float, most: int) -> list[int]:
    """Take up to `most` groups, each of which brings the number of images nearer to the target.

    Where the first would be too large, the smallest is taken alone; of `most` 0, none.
    """
    taken: list[int] = []
    count = 0
    for group in order:
        size = int(sizes[group])
        if len(taken) < most and abs(count + size - target) < abs(count - target):
            taken.append(group)
            count += size
    if not taken and most > 0:
        taken = [min(order, key=lambda group: int(sizes[group]))]
    return taken


def _shown(name: str) -> str:
    return repr(name[:_LONGEST_NAME])
