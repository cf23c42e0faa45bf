"""manifest.json: what a folder of pseudo labels holds, shard by shard and class by class.

The file may have been edited, or come with labels that somebody else made: names of shards stay inside
its folder.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from selftrain_jax.errors import InputError
from selftrain_jax.run_files.fields import (
    COUNT,
    DURATION,
    FRACTION,
    NUMBER_BY_NAME,
    TEXT,
    TEXTS,
    Expected,
    Fields,
    JsonObject,
    Number,
    T,
    list_of,
    open_fields,
    to_json,
)
from selftrain_jax.types import MAX_CLASS_ID, Category

MANIFEST_FILE = "manifest.json"
FIRST_KIND = "boxes"  # manifests of the first form do not say their kind
REMEDY = (
    "The file was changed after it was written: delete it and run --job=pseudo_label again; "
    "the shards are kept."
)


class LabelTotals:
    """What only one kind of pseudo labels has: a dataclass of each is in `tasks/<task>/run_files.py`."""

    kind: ClassVar[str]
    unit: ClassVar[str]  # what is counted: the file's keys are num_<unit> and num_<unit>_at_threshold

    @property
    def num_labels(self) -> int:
        """All of them, whatever their score."""
        raise NotImplementedError

    @property
    def num_kept(self) -> int:
        """Those at the threshold."""
        raise NotImplementedError

    @property
    def kept_per_class(self) -> dict[str, int]:
        """Those at the threshold, by class name."""
        raise NotImplementedError

    @property
    def summary(self) -> dict[str, Number | None]:
        """What summary.json says of this kind alone, beside precision and recall."""
        return {}

    @classmethod
    def from_fields(cls: type[T], fields: Fields) -> T:
        """Read them from the manifest's keys."""
        raise NotImplementedError


Totals = TypeVar("Totals", bound=LabelTotals)


@dataclass(frozen=True, kw_only=True)
class ShardEntry:
    """One shard: a file of records in the manifest's folder."""

    file: str
    records: int
    bytes: int
    sha256: str

    @classmethod
    def from_fields(cls, fields: Fields) -> "ShardEntry":
        """Read an entry of `shards`."""
        return cls(
            file=fields.get("file", _FILE_NAME),
            records=fields.get("records", COUNT),
            bytes=fields.get("bytes", COUNT),
            sha256=fields.get("sha256", TEXT),
        )


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Counts between neighbouring edges."""

    edges: tuple[Number, ...]
    counts: tuple[int, ...]

    @classmethod
    def read(cls, fields: Fields, key: str) -> "Histogram":
        """Read the histogram under `key`."""
        entry = fields.get(key, _HISTOGRAM)
        return cls(edges=tuple(entry["edges"]), counts=tuple(entry["counts"]))


@dataclass(frozen=True, kw_only=True)
class Manifest(Generic[Totals]):
    """A finished folder of pseudo labels. Counts "at threshold" are at these thresholds."""

    provenance: JsonObject  # teacher, config, versions, settings of the inference: nothing relies on them
    source: str | None
    threshold: Number
    per_class_thresholds: Mapping[str, Number]
    seconds: Number
    num_images: int
    num_bad_images: int
    bad_images: tuple[str, ...]
    labels: Totals
    categories: tuple[Category, ...]
    shards: tuple[ShardEntry, ...]

    @classmethod
    def from_json(cls, value: Any, path: Path, totals: type[Totals]) -> "Manifest[Totals]":
        """Check a manifest of this kind of labels.

        Raises:
            InputError: it is of another kind, or a key is missing or of another form than expected.
        """
        fields = open_fields(value, path, REMEDY)
        kind = fields.get("kind", TEXT, FIRST_KIND)
        if kind != totals.kind:
            raise InputError(
                f"{path.parent} holds pseudo {kind:.40}, expected pseudo {totals.kind}. config.task says "
                "which: detection makes boxes, segmentation masks. Name a workdir of this task."
            )
        known = cls(
            provenance={},
            source=fields.get("source", TEXT, None),
            threshold=fields.get("threshold", FRACTION),
            per_class_thresholds=fields.get("per_class_thresholds", NUMBER_BY_NAME, {}),
            seconds=fields.get("seconds", DURATION),
            num_images=fields.get("num_images", COUNT),
            num_bad_images=fields.get("num_bad_images", COUNT),
            bad_images=tuple(fields.get("bad_images", TEXTS)),
            labels=totals.from_fields(fields),
            categories=_read_categories(fields),
            shards=fields.parse_list("shards", ShardEntry.from_fields),
        )
        known._check_counts(fields)
        return replace(known, provenance=fields.others(*known.to_json()))

    def to_json(self) -> JsonObject:
        """Return the object for the file, keys in the order of the file."""
        totals = to_json(self.labels)
        return {
            **self.provenance,
            "kind": self.labels.kind,
            **totals.pop("settings"),
            "source": self.source,
            "threshold": self.threshold,
            "per_class_thresholds": dict(self.per_class_thresholds),
            "seconds": self.seconds,
            "num_images": self.num_images,
            "num_bad_images": self.num_bad_images,
            "bad_images": list(self.bad_images),
            **totals,
            "categories": [category._asdict() for category in self.categories],
            "shards": to_json(self.shards),
        }

    def _check_counts(self, fields: Fields) -> None:
        labels, unit = self.labels, self.labels.unit
        if set(labels.kept_per_class) != {category.name for category in self.categories}:
            raise fields.error("per_class and categories have different classes")
        if labels.num_kept > labels.num_labels or (labels.num_labels and not self.num_images):
            raise fields.error(f"num_images, num_{unit} and num_{unit}_at_threshold contradict each other")


def is_file_name(name: Any) -> bool:
    """Tell whether a text names a file in a folder, and nothing outside it."""
    if not isinstance(name, str) or not name.isprintable() or name in ("", ".."):
        return False
    return name == Path(name).name and len(name.encode()) < 256


def _read_categories(fields: Fields) -> tuple[Category, ...]:
    categories = fields.parse_list(
        "categories", lambda entry: Category(entry.get("id", _CLASS_ID), entry.get("name", TEXT))
    )
    ids, names = zip(*categories, strict=True) if categories else ((), ())
    if not categories or len(set(ids)) < len(ids) or len(set(names)) < len(names):
        raise fields.wrong("categories", "objects of id and name, none twice")
    return categories


def _is_histogram(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    edges, counts = value.get("edges", []), value.get("counts", [])
    if not list_of(FRACTION, "").is_right(edges) or not list_of(COUNT, "").is_right(counts):
        return False
    return len(edges) == len(counts) + 1


_FILE_NAME = Expected(is_file_name, "a name without folder")
_CLASS_ID = Expected(
    lambda value: COUNT.is_right(value) and value <= MAX_CLASS_ID, f"a whole number from 0 to {MAX_CLASS_ID}"
)
_HISTOGRAM = Expected(_is_histogram, "edges of 0 to 1 and the counts between them")
