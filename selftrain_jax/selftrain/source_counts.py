"""Counts over finished shards of pseudo labels, of all and by source of images; call `count_labels`."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from selftrain_jax.run_files.manifest import LabelTotals, ShardEntry, SourceEntry
from selftrain_jax.selftrain.checks import SourceThresholds
from selftrain_jax.selftrain.shard_index import Counting, add_counts, read_index, restore_counts
from selftrain_jax.text import FIRST_SOURCE
from selftrain_jax.types import Category


class CountedLabels(NamedTuple):
    """Finished shards, and what is in them at the thresholds."""

    shards: tuple[ShardEntry, ...]
    image_ids: list[str]  # with labels, in the order of their records
    labels: LabelTotals
    by_source: Mapping[str, LabelTotals]
    num_images: Mapping[str, int]  # by source


def count_labels(
    paths: Sequence[Path], counting: Counting, categories: Sequence[Category], settings: Any
) -> CountedLabels:
    """Add up what the indexes of shards say of their labels, which were made with `settings`.

    Raises:
        InputError: an index is damaged: `complete_indexes` first.
    """
    indexes = [read_index(path) for path in paths]
    counts = {
        name: [restore_counts(index, name, counting) for index in indexes if name in index.sources]
        for name in counting.levels
    }
    num_images = {
        name: sum(index.sources[name].num_images for index in indexes if name in index.sources)
        for name in counting.levels
    }

    def add_up(*names: str) -> LabelTotals:
        chosen = [of_shard for name in names for of_shard in counts[name]]
        total = functools.reduce(add_counts, chosen, counting.nothing(FIRST_SOURCE))
        return counting.labeller.describe_counts(total, categories, settings)

    return CountedLabels(
        shards=tuple(index.entry(path.name) for index, path in zip(indexes, paths, strict=True)),
        image_ids=[image_id for index in indexes for image_id in index.image_ids],
        labels=add_up(*counting.levels),
        by_source={name: add_up(name) for name in counting.levels},
        num_images=num_images,
    )


def describe_sources(
    counted: CountedLabels,
    thresholds: Mapping[str, SourceThresholds],
    num_asked: Mapping[str, int],
    data_sets: Mapping[str, str],
) -> tuple[SourceEntry, ...]:
    """Return what a manifest says of each source; () where there is one.

    `num_asked` are the images that were to be labelled: the others did not decode.
    """
    if len(thresholds) == 1:
        return ()
    return tuple(
        SourceEntry(
            name=name,
            data_set=data_sets.get(name, ""),
            threshold=own.threshold,
            per_class_thresholds=dict(own.per_class),
            num_images=counted.num_images.get(name, 0),
            num_bad_images=num_asked.get(name, 0) - counted.num_images.get(name, 0),
            num_labels=counted.by_source[name].num_labels,
            num_labels_at_threshold=counted.by_source[name].num_kept,
            per_class=counted.by_source[name].kept_per_class,
        )
        for name, own in thresholds.items()
    )
