"""card.json: where imported weights are from, what input they expect and how good they were."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selftrain_jax.run_files.fields import (
    COUNT,
    FLAG,
    NUMBER,
    NUMBERS,
    TEXT,
    TEXT_BY_NAME,
    Fields,
    JsonObject,
    Number,
    open_fields,
    or_null,
    to_json,
)

CARD_FILE = "card.json"
REMEDY = "Run --job=import_weights again into a new folder."


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """The pixels that the weights were trained on."""

    input_rule_of_source: str
    stem_folded: bool  # then our own pixels are expected, not the source's
    mean_of_x_over_255: tuple[Number, ...]
    deviation_of_x_over_255: tuple[Number, ...]
    image_border: str

    @classmethod
    def from_fields(cls, fields: Fields) -> "Preprocessing":
        """Read the object `preprocessing`."""
        return cls(
            input_rule_of_source=fields.get("input_rule_of_source", TEXT),
            stem_folded=fields.get("stem_folded", FLAG),
            mean_of_x_over_255=tuple(fields.get("mean_of_x_over_255", NUMBERS)),
            deviation_of_x_over_255=tuple(fields.get("deviation_of_x_over_255", NUMBERS)),
            image_border=fields.get("image_border", TEXT),
        )


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """All that is known of imported weights."""

    source: str
    sha256: Mapping[str, str]  # of the source's files, by name
    kind: str
    network: str
    weights: str
    published_accuracy: str | None
    preprocessing: Preprocessing
    bn_epsilon_of_source: Number
    pool_padding_of_source: str
    num_imported: int
    num_ignored: int
    variables_sha256: str
    versions: Mapping[str, str]

    @classmethod
    def from_json(cls, value: Any, path: Path) -> "ModelCard":
        """Check a file.

        Raises:
            InputError: a key is missing or of another form than expected.
        """
        fields = open_fields(value, path, REMEDY)
        return cls(
            source=fields.get("source", TEXT),
            sha256=fields.get("sha256", TEXT_BY_NAME),
            kind=fields.get("kind", TEXT),
            network=fields.get("network", TEXT),
            weights=fields.get("weights", TEXT),
            published_accuracy=fields.get("published_accuracy", or_null(TEXT)),
            preprocessing=fields.parse("preprocessing", Preprocessing.from_fields),
            bn_epsilon_of_source=fields.get("bn_epsilon_of_source", NUMBER),
            pool_padding_of_source=fields.get("pool_padding_of_source", TEXT),
            num_imported=fields.get("num_imported", COUNT),
            num_ignored=fields.get("num_ignored", COUNT),
            variables_sha256=fields.get("variables_sha256", TEXT),
            versions=fields.get("versions", TEXT_BY_NAME),
        )

    def to_json(self) -> JsonObject:
        """Return the object for the file, keys in the order of the file."""
        return to_json(self)
