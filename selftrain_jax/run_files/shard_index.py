"""pseudo-00000-of-00012.index.json: what is known of a shard of pseudo labels since it was written."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selftrain_jax.run_files.fields import (
    Count,
    FiniteNumber,
    Fraction,
    JsonObject,
    Object,
    Text,
    open_document,
    to_json,
)
from selftrain_jax.run_files.manifest import ShardEntry

REMEDY = "It is made anew from the shard."


@dataclass(frozen=True, kw_only=True)
class SourceCounts:
    """What a shard holds of one source of images, counted at these thresholds."""

    threshold: Fraction
    per_class_thresholds: Mapping[Text, FiniteNumber]
    num_images: Count
    counts: Object  # the fields of the task's counts, as numbers and lists


@dataclass(frozen=True, kw_only=True)
class ShardIndex:
    """Where the records of a shard are, whose they are, and how many labels they hold."""

    bytes: Count
    sha256: Text
    offsets: tuple[Count, ...]  # of the records, ascending
    image_ids: tuple[Text, ...]
    sources: Mapping[Text, SourceCounts]

    @classmethod
    def from_json(cls, value: Any, path: Path) -> "ShardIndex":
        """Check a file. Raises: InputError, as `Document.read`, and where values contradict each other."""
        document = open_document(value, path, REMEDY)
        index = document.read(cls)
        if problem := index._find_contradiction():
            raise document.error(problem)
        return index

    def to_json(self) -> JsonObject:
        """Return the object for the file, keys in the order of the file."""
        return to_json(self)

    def entry(self, file: str) -> ShardEntry:
        """Return what the manifest says of the shard, which is called `file`."""
        return ShardEntry(file=file, records=len(self.offsets), bytes=self.bytes, sha256=self.sha256)

    def _find_contradiction(self) -> str | None:
        if len(self.offsets) != len(self.image_ids):
            return f"there are {len(self.offsets)} offsets and {len(self.image_ids)} image_ids"
        bounds = (*self.offsets, self.bytes)
        if bounds[0] != 0 or any(after <= before for before, after in itertools.pairwise(bounds)):
            return "offsets must begin with 0 and ascend, below bytes"
        if sum(own.num_images for own in self.sources.values()) != len(self.image_ids):
            return "the sources' num_images are not as many as image_ids"
        return None


def index_path(shard: Path) -> Path:
    """Return where the index of a shard lies: beside it."""
    return shard.with_suffix(".index.json")
