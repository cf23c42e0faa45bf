"""Counts over finished shards of pseudo labels, of all and by source of images; call `count_labels`."""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from selftrain_jax.data.named_sources import source_of
from selftrain_jax.run_files.manifest import LabelTotals, SourceEntry
from selftrain_jax.selftrain.checks import SourceThresholds, class_thresholds
from selftrain_jax.selftrain.labeller import Labeller
from selftrain_jax.selftrain.manifest import ShardSummary, summarize_shard
from selftrain_jax.text import FIRST_SOURCE
from selftrain_jax.types import Category, Example


class CountedLabels(NamedTuple):
    """Finished shards, and what is in them at the thresholds."""

    shards: list[ShardSummary]
    labels: LabelTotals
    by_source: Mapping[str, LabelTotals]
    num_images: Mapping[str, int]  # by source

    @property
    def image_ids(self) -> list[str]:
        """The images with labels, in the order of their records."""
        return [image_id for shard in self.shards for image_id in shard.image_ids]


def count_labels(
    paths: Sequence[Path],
    labeller: Labeller,
    categories: Sequence[Category],
    thresholds: Mapping[str, SourceThresholds],
    settings: Any,
) -> CountedLabels:
    """Read shards back and count their labels, which were made with `settings`.

    `thresholds` are of each source, the first one included.

    Raises:
        InputError: a shard is damaged, or a threshold does not fit.
    """
    levels = {name: class_thresholds(categories, *own) for name, own in thresholds.items()}

    def name_of(example: Example) -> str:
        return source_of(example["image_id"], levels)

    def count(examples: Iterator[Example]) -> list[tuple[str, Any]]:
        # The images of a source are behind one another, so that a shard has few groups.
        groups = itertools.groupby(examples, name_of)
        return [(name, labeller.count_shard(group, levels[name])) for name, group in groups]

    shards = [summarize_shard(path, count) for path in paths]
    counts = [pair for shard in shards for pair in shard.counts]

    def add_up(*names: str) -> LabelTotals:
        chosen = [count for name, count in counts if name in names]
        none = labeller.count_shard((), levels[FIRST_SOURCE])
        return labeller.sum_counts(chosen or [none], categories, settings)

    num_images = Counter(source_of(image_id, levels) for shard in shards for image_id in shard.image_ids)
    return CountedLabels(shards, add_up(*levels), {name: add_up(name) for name in levels}, num_images)


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
