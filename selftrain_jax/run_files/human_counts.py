"""human_counts.json: how many human labels a run has of each class."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selftrain_jax.run_files.fields import Count, JsonObject, Text, open_document, to_json

HUMAN_COUNTS_FILE = "human_counts.json"
REMEDY = "Delete it and run the same command again: the labels are counted anew."


@dataclass(frozen=True, kw_only=True)
class HumanCounts:
    """Boxes or pixels, and of which labels."""

    labels_digest: Text  # as in the stages' records
    counts: Mapping[Text, Count]  # by class name

    @classmethod
    def from_json(cls, value: Any, path: Path) -> "HumanCounts":
        """Check a file. Raises: InputError, as `Document.read`."""
        return open_document(value, path, REMEDY).read(cls)

    def to_json(self) -> JsonObject:
        """Return the object for the file, keys in the order of the file."""
        return to_json(self)
