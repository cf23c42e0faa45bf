"""review.json: which pseudo labels went out to an annotation tool, box by box, to tell what was changed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import GetPydanticSchema

from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json
from selftrain_jax.run_files.corrections import Box
from selftrain_jax.run_files.fields import Count, Fraction, JsonObject, Object, Text, open_document, to_json
from selftrain_jax.run_files.manifest import category_schema
from selftrain_jax.types import Category

REVIEW_FILE = "review.json"
REMEDY = "It is written by --job=export_labels; restore it, or export again."


@dataclass(frozen=True, kw_only=True)
class SentBox:
    """A pseudo box as the record has it."""

    index: Count  # among the boxes of the image's record
    box: Box  # yxyx pixels, float32 values
    class_id: Count
    score: Fraction


@dataclass(frozen=True, kw_only=True)
class SentImage:
    """An image that went out."""

    image_id: Text
    name: Text  # its file's name in the tool: unique in the export
    path: Text  # the file itself, absolute
    size_px: tuple[Count, Count]  # height, width
    boxes: tuple[SentBox, ...]


@dataclass(frozen=True, kw_only=True)
class Review:
    """One export."""

    label_set: Text  # `label_set_digest` of the set
    layer: Text  # the digest of the layer of corrections that was the highest then; "" for none
    teacher: Object  # as in the set's manifest
    format: Text
    choose: Text
    threshold: Fraction
    per_class_thresholds: Object
    created: Text  # when, in UTC
    categories: tuple[Annotated[Category, GetPydanticSchema(category_schema)], ...]
    images: tuple[SentImage, ...]

    @classmethod
    def from_json(cls, value: Any, path: Path) -> "Review":
        """Check a file. Raises: InputError, as `Document.read`, or where an image or a name is twice."""
        document = open_document(value, path, REMEDY)
        found = document.read(cls)
        for key in ("image_id", "name"):
            values = [getattr(image, key) for image in found.images]
            if len(set(values)) < len(values):
                raise document.error(f"an {key} is twice among its images")
        return found

    def to_json(self) -> JsonObject:
        """Return the object for the file."""
        categories = [category._asdict() for category in self.categories]
        return {**to_json(self), "categories": categories}


def read_review(path: Path) -> Review:
    """Read what went out. Raises: InputError: it is missing or damaged."""
    if not path.is_file():
        raise InputError(f"{path} does not exist. {REMEDY}")
    return Review.from_json(read_json(path, REMEDY), path)
