"""export.json: what an exported file computes, of which network, and how well it agrees with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selftrain_jax.run_files.fields import Count, FiniteNumber, Flag, JsonObject, Text, open_document, to_json

EXPORT_FILE = "export.json"
REMEDY = "Run --job=export again into a new folder."


@dataclass(frozen=True, kw_only=True)
class ExportCard:
    """All that a program needs to know that runs an exported network."""

    format: Text
    files: tuple[Text, ...]
    task: Text
    network: Text
    classes: Mapping[Text, Text]  # names by id
    image_size_px: Count
    batch_size: Count  # 0: any
    dtype: Text  # of activations
    nms: Flag
    inputs: Mapping[Text, Text]  # what each is
    outputs: Mapping[Text, Text]
    checkpoint: Text
    variables_sha256: Text
    versions: Mapping[Text, Text]
    # Compared with the running network: of numbers the largest difference, of classes the share that differs.
    differences: Mapping[Text, FiniteNumber]
    num_compared: Count  # images

    @classmethod
    def from_json(cls, value: Any, path: Path) -> "ExportCard":
        """Check a file. Raises: InputError, as `Document.read`."""
        return open_document(value, path, REMEDY).read(cls)

    def to_json(self) -> JsonObject:
        """Return the object for the file, keys in the order of the file."""
        return to_json(self)
