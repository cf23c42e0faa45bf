"""config.data.kind=auto with a folder: what lies there is recognised and read; call `read_folder`.

Both tasks with pictures use it. Without a folder auto is TFDS.
"""

from typing import NamedTuple

from ml_collections import ConfigDict

from selftrain_jax.data.layouts.label_set import LabelSet
from selftrain_jax.data.layouts.recognise import Hints, VocLists, describe, list_classes, read_labels
from selftrain_jax.data.layouts.splits import resolve_split
from selftrain_jax.tasks.config_values import class_names, require_dir
from selftrain_jax.types import Category


class FolderSplit(NamedTuple):
    """What a folder holds, and the split of it that was asked for as it is called there."""

    labels: LabelSet | VocLists
    split: str
    chosen: dict[str, str]  # the split on the disk for each that the run asks for


def read_folder(config: ConfigDict, group: str, split: str, *, outlines: bool) -> FolderSplit:
    """Read the folder of config.data or config.unlabeled, and find a split in it.

    Raises:
        InputError: no format is recognised, its files are malformed, or there is no such split.
    """
    data, where = config.data, config[group]
    # Masks' unlabelled images may lie in the labelled ones' folder.
    text = where.dir or data.dir if outlines else where.dir
    root = require_dir(text, f"config.{group}.dir", "the data set")
    names = (data.train, data.val, data.test) if group == "data" else (where.split,)
    hints = Hints(names, where.annotations, where.images, class_names(config))
    labels = read_labels(root, hints, outlines=outlines)
    found = tuple(labels.splits)
    divided = data.get("split", "") if group == "data" else None
    asked = (*names, split) if group == "data" and not divided else (split,)
    chosen = {name: resolve_split(name, found, str(labels.root), divided) for name in dict.fromkeys(asked)}
    return FolderSplit(labels, chosen[split], chosen)


def notes_of(
    config: ConfigDict, group: str, found: FolderSplit, categories: tuple[Category, ...], *, outlines: bool
) -> tuple[str, ...]:
    """Say what was recognised and decided, in at most three lines that are the same for every split."""
    assert isinstance(found.labels, LabelSet)
    lines = describe(found.labels, found.chosen, list_classes(categories), outlines)
    return lines if group == "data" else tuple(f"unlabelled {line}" for line in lines)
