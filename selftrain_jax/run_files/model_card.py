"""card.json: where imported weights are from, what input they expect and how good they were."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selftrain_jax.run_files.fields import Count, FiniteNumber, Flag, JsonObject, Text, open_document, to_json

CARD_FILE = "card.json"
REMEDY = "Run --job=import_weights again into a new folder."


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """The pixels that the weights were trained on."""

    input_rule_of_source: Text
    stem_folded: Flag  # then our own pixels are expected, not the source's
    mean_of_x_over_255: tuple[FiniteNumber, ...]
    deviation_of_x_over_255: tuple[FiniteNumber, ...]
    image_border: Text


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """All that is known of imported weights."""

    source: Text
    sha256: Mapping[Text, Text]  # of the source's files, by name
    kind: Text
    network: Text
    weights: Text
    published_accuracy: Text | None
    preprocessing: Preprocessing
    bn_epsilon_of_source: FiniteNumber
    pool_padding_of_source: Text
    num_imported: Count
    num_ignored: Count
    variables_sha256: Text
    versions: Mapping[Text, Text]
    name: Text | None = None  # in the catalogue, of weights that were imported by name
    licence: Text | None = None
    revision: Text | None = None  # on the hub

    @classmethod
    def from_json(cls, value: Any, path: Path) -> "ModelCard":
        """Check a file. Raises: InputError, as `Document.read`."""
        return open_document(value, path, REMEDY).read(cls)

    def to_json(self) -> JsonObject:
        """Return the object for the file, keys in the order of the file."""
        return to_json(self)
