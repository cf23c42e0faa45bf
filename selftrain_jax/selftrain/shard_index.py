"""The index beside each shard of pseudo labels, made while the shard is written; call `complete_indexes`.

Nobody reads a whole shard again to find its records, to count its labels or to know its digest. An index that
is missing or does not fit its shard is made anew from it.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from selftrain_jax import hosts
from selftrain_jax.data.named_sources import source_of
from selftrain_jax.data.records import decode_record
from selftrain_jax.data.shards import WrittenShard, ends_with_record, index_shard, read_record
from selftrain_jax.errors import InputError
from selftrain_jax.io import hash_file, read_json, write_json
from selftrain_jax.run_files.manifest import ShardEntry
from selftrain_jax.run_files.shard_index import REMEDY, ShardIndex, SourceCounts, index_path
from selftrain_jax.selftrain.checks import SourceThresholds, class_thresholds
from selftrain_jax.selftrain.labeller import Labeller
from selftrain_jax.text import shorten_list
from selftrain_jax.threads import thread_pool
from selftrain_jax.types import Category, Example

MAX_LISTED = 3


class ImageCounts(NamedTuple):
    """The labels of one image."""

    image_id: str
    source: str
    counts: Any  # what the labeller's `count_images` returns


class Counting(NamedTuple):
    """How labels are counted: as the task does, at the thresholds of each source of images."""

    labeller: Labeller
    thresholds: Mapping[str, SourceThresholds]
    levels: Mapping[str, np.ndarray]  # by source, then by Category.id

    def of_image(self, labels: Example) -> ImageCounts:
        """Count the labels of an image."""
        image_id = labels["image_id"]
        source = source_of(image_id, self.levels)
        return ImageCounts(image_id, source, self.labeller.count_images([labels], self.levels[source]))

    def nothing(self, source: str) -> Any:
        """Return the counts of no image."""
        return self.labeller.count_images((), self.levels[source])


def count_with(
    labeller: Labeller, categories: Sequence[Category], thresholds: Mapping[str, SourceThresholds]
) -> Counting:
    """Count at these thresholds of each source, the first one included.

    Raises:
        InputError: a threshold does not fit.
    """
    levels = {name: class_thresholds(categories, *own) for name, own in thresholds.items()}
    return Counting(labeller, thresholds, levels)


class Tally:
    """Adds up the labels of a shard's images, in the order of its records."""

    def __init__(self, counting: Counting) -> None:
        self.counting = counting
        self.image_ids: list[str] = []
        self.num_images: Counter[str] = Counter()
        self.sums: dict[str, Any] = {}

    def add(self, image: ImageCounts) -> None:
        """Add an image's labels to those of its source."""
        self.image_ids.append(image.image_id)
        self.num_images[image.source] += 1
        before = self.sums.get(image.source)
        self.sums[image.source] = image.counts if before is None else add_counts(before, image.counts)

    def index(self, written: WrittenShard) -> ShardIndex:
        """Return the index of the shard that holds these images."""
        thresholds = self.counting.thresholds
        sources = {
            name: SourceCounts(
                threshold=thresholds[name].threshold,
                per_class_thresholds=dict(thresholds[name].per_class),
                num_images=self.num_images[name],
                counts={field: np.asarray(value).tolist() for field, value in counts._asdict().items()},
            )
            for name, counts in self.sums.items()
        }
        return ShardIndex(
            bytes=written.num_bytes,
            sha256=written.sha256,
            offsets=tuple(written.offsets.tolist()),
            image_ids=tuple(self.image_ids),
            sources=sources,
        )


def add_counts(first: Any, second: Any) -> Any:
    """Add two tuples of counts, field by field."""
    return type(first)(*(a + b for a, b in zip(first, second, strict=True)))


def restore_counts(index: ShardIndex, source: str, counting: Counting) -> Any:
    """Return the counts of a source's labels in a shard.

    Raises:
        InputError: they are not those of this task and these classes.
    """
    own, nothing = index.sources.get(source), counting.nothing(source)
    if own is None:
        return nothing
    values = {field: np.asarray(own.counts.get(field)) for field in nothing._fields}
    for field, value in values.items():
        shape = np.shape(getattr(nothing, field))
        if value.dtype.kind != "i" or value.shape != shape or (value < 0).any():
            raise InputError(f"{field} of {source}: no whole numbers of shape {shape}. {REMEDY}")
    return type(nothing)(**values)


def complete_indexes(paths: Sequence[Path], counting: Counting) -> list[str]:
    """Make the indexes anew that are missing, damaged, of another file or counted otherwise.

    The hosts divide the shards. Returns what is wrong with shards of which no index can be made.
    """
    own = [paths[position] for position in hosts.shard_range(len(paths))]
    with thread_pool(os.cpu_count() or 1) as pool:
        completed = list(pool.map(lambda path: _complete(path, counting), own))
    remade = _gather(problem for problem, _ in completed)
    if remade:
        hosts.log(
            f"pseudo labels: {len(remade)} of {len(paths)} shards were read again for their index: "
            f"{shorten_list(remade, MAX_LISTED)}"
        )
    return _gather(damage for _, damage in completed)


def _gather(lines: Iterable[str]) -> list[str]:
    """Return the lines of all hosts, without empty ones."""
    return [line for of_host in hosts.gather(list(filter(None, lines))) for line in of_host]


def _complete(path: Path, counting: Counting) -> tuple[str, str]:
    """Make one index anew if need be; say what was wrong with it, and with the shard."""
    problem = ""
    try:
        index = read_index(path)
        for source in index.sources.keys() & counting.levels.keys():
            restore_counts(index, source, counting)
        if _is_counted(index, counting):
            return "", ""
    except InputError as error:
        problem = str(error)
    try:
        write_json(index_path(path), index_anew(path, counting).to_json())
    except InputError as error:
        return "", str(error)
    except OSError as error:
        return "", f"{index_path(path)} cannot be written ({error.strerror})"
    return problem, ""


def _is_counted(index: ShardIndex, counting: Counting) -> bool:
    return all(
        counting.thresholds.get(name) == SourceThresholds(own.threshold, dict(own.per_class_thresholds))
        for name, own in index.sources.items()
    )


def index_anew(path: Path, counting: Counting) -> ShardIndex:
    """Read a whole shard.

    Raises:
        InputError: it is damaged.
    """
    tally, offsets = Tally(counting), index_shard(path)
    for offset in offsets.tolist():
        labels, _ = decode_record(read_record(path, offset), f"{path}@{offset}")
        tally.add(counting.of_image(labels))
    return tally.index(WrittenShard(offsets, path.stat().st_size, hash_file(path)))


def read_index(path: Path, entry: ShardEntry | None = None) -> ShardIndex:
    """Read the index of a shard.

    Raises:
        InputError: it is missing, damaged, or of another file than the shard that lies there or, given its
            `entry` in the manifest, than that.
    """
    file = index_path(path)
    if not path.is_file():
        raise InputError(f"{path} is missing")
    index = ShardIndex.from_json(read_json(file, REMEDY), file)
    if entry is not None and index.entry(path.name) != entry:
        raise InputError(f"{file} is of another shard than the manifest's. {REMEDY}")
    if index.bytes != path.stat().st_size or (
        index.offsets and not ends_with_record(path, index.offsets[-1])
    ):
        raise InputError(f"{file} does not fit {path.name}, which has {path.stat().st_size} bytes. {REMEDY}")
    return index
