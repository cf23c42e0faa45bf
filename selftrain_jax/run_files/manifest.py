"""manifest.json: what a folder of pseudo labels holds, shard by shard and class by class.

The file may have been edited, or come with labels that somebody else made: names of shards stay inside
its folder.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import Field, GetCoreSchemaHandler, GetPydanticSchema
from pydantic_core import CoreSchema, core_schema

from selftrain_jax.errors import InputError
from selftrain_jax.io import show
from selftrain_jax.run_files.cost import Cost
from selftrain_jax.run_files.fields import (
    AS_GIVEN,
    Count,
    Duration,
    Expected,
    FiniteNumber,
    Fraction,
    JsonObject,
    Number,
    Object,
    Text,
    open_document,
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
    """What only one kind of pseudo labels has: a dataclass of each is in `tasks/<task>/run_files.py`.

    Its fields are named after what is counted, as the manifest's keys are: `num_<unit>` is the number of
    all of them and `num_<unit>_at_threshold` of those at the threshold; the entries of `per_class` have
    `<unit>_at_threshold`.
    """

    kind: ClassVar[str]
    unit: ClassVar[str]
    settings: Any  # how they were made: a dataclass, whose fields are keys of the manifest too
    per_class: Mapping[str, Any]

    @property
    def num_labels(self) -> int:
        """All of them, whatever their score."""
        return getattr(self, f"num_{self.unit}")

    @property
    def num_kept(self) -> int:
        """Those at the threshold."""
        return getattr(self, f"num_{self.unit}_at_threshold")

    @property
    def kept_per_class(self) -> dict[str, int]:
        """Those at the threshold, by class name."""
        return {name: getattr(own, f"{self.unit}_at_threshold") for name, own in self.per_class.items()}

    @property
    def summary(self) -> dict[str, Number | None]:
        """What summary.json says of this kind alone, beside precision and recall."""
        return {}


def labelled_by(manifest: "Manifest[Any]") -> tuple[str, ...]:
    """Name the models whose labels these are, where other models' are among them; else nothing."""
    found = manifest.provenance.get("foreign")
    entries = found if isinstance(found, list) else []
    return tuple(str(entry.get("model")) for entry in entries if isinstance(entry, dict))


Totals = TypeVar("Totals", bound=LabelTotals)


def is_file_name(name: Any) -> bool:
    """Tell whether a text names a file in a folder, and nothing outside it."""
    if not isinstance(name, str) or not name.isprintable() or name in ("", ".."):
        return False
    return name == Path(name).name and len(name.encode()) < 256


@dataclass(frozen=True, kw_only=True)
class ShardEntry:
    """One shard: a file of records in the manifest's folder."""

    file: Annotated[str, Expected("a name without folder", is_file_name)]
    records: Count
    bytes: Count
    sha256: Text


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Counts between neighbouring edges."""

    edges: tuple[Fraction, ...]
    counts: tuple[Count, ...]

    def __post_init__(self) -> None:
        if len(self.edges) != len(self.counts) + 1:
            raise ValueError(f"{len(self.edges)} edges, expected one more than the {len(self.counts)} counts")


@dataclass(frozen=True, kw_only=True)
class SourceEntry:
    """The labels of one of several sources of images; its image ids begin with its name, but the first's."""

    name: Text
    data_set: Text
    threshold: Fraction
    per_class_thresholds: Annotated[Mapping[Text, FiniteNumber], Field(default_factory=dict)]
    num_images: Count
    num_bad_images: Count
    num_labels: Count  # boxes or pixels, whatever their score
    num_labels_at_threshold: Count
    per_class: Mapping[Text, Count]  # of those at the threshold


FractionHistogram = Annotated[Histogram, Expected("edges of 0 to 1 and the counts between them")]


@dataclass(frozen=True)
class _CategoryEntry:
    id: Annotated[
        int, Field(strict=True, ge=0, le=MAX_CLASS_ID), Expected(f"a whole number from 0 to {MAX_CLASS_ID}")
    ]
    name: Text


def category_schema(_: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
    """Let pydantic read an object of id and name as a `Category`."""
    entry = handler(_CategoryEntry)
    return core_schema.no_info_after_validator_function(lambda found: Category(found.id, found.name), entry)


@dataclass(frozen=True, kw_only=True)
class Manifest(Generic[Totals]):
    """A finished folder of pseudo labels. Counts "at threshold" are at these thresholds."""

    provenance: Object  # teacher, config, versions, settings of the inference: nothing relies on them
    source: Annotated[Text | None, Field(default=None)]
    threshold: Fraction
    per_class_thresholds: Annotated[Mapping[Text, FiniteNumber], Field(default_factory=dict)]
    seconds: Duration  # of the session that finished them
    cost: Cost | None = None  # of that session; None: an older version wrote the file
    num_images: Count
    num_bad_images: Count
    bad_images: tuple[Text, ...]
    labels: Annotated[Totals, AS_GIVEN]
    categories: tuple[Annotated[Category, GetPydanticSchema(category_schema)], ...]
    shards: tuple[ShardEntry, ...]
    sources: tuple[SourceEntry, ...] = ()  # where there are several

    @classmethod
    def from_json(cls, value: Any, path: Path, totals: type[Totals]) -> "Manifest[Totals]":
        """Check a manifest of this kind of labels.

        Raises:
            InputError: it is of another kind, or a key is missing or of another form than expected.
        """
        document = open_document(value, path, REMEDY)
        kind = value.get("kind", FIRST_KIND)
        if not isinstance(kind, str):
            raise document.wrong("kind", kind, "a text")
        if kind != totals.kind:
            raise InputError(
                f"{path.parent} holds pseudo {kind:.40}, expected pseudo {totals.kind}. config.task says "
                "which: detection makes boxes, segmentation masks. Name a workdir of this task."
            )
        labels = document.read(totals, settings=value)
        known = document.read(cls, provenance={}, labels=labels)
        problem = known._find_contradiction()
        if problem:
            raise document.error(problem)
        return replace(known, provenance=document.others(*known.to_json()))

    def to_json(self) -> JsonObject:
        """Return the object for the file, keys in the order of the file."""
        values, totals = to_json(self), to_json(self.labels)
        shards = values.pop("shards")
        del values["labels"], values["categories"]
        first = {**values.pop("provenance"), "kind": self.labels.kind, **totals.pop("settings")}
        sources = {"sources": values.pop("sources")} if self.sources else {}
        categories = [category._asdict() for category in self.categories]
        return {**first, **values, **totals, "categories": categories, **sources, "shards": shards}

    def _find_contradiction(self) -> str | None:
        labels, unit = self.labels, self.labels.unit
        ids, names = ({category[part] for category in self.categories} for part in (0, 1))
        if not ids or len(ids) < len(self.categories) or len(names) < len(self.categories):
            return f"categories is {show(self.categories)}; expected objects of id and name, none twice"
        if set(labels.kept_per_class) != names:
            return "per_class and categories have different classes"
        if labels.num_kept > labels.num_labels or (labels.num_labels and not self.num_images):
            return f"num_images, num_{unit} and num_{unit}_at_threshold contradict each other"
        return None
