"""corrections/NNN.json: layers of human corrections over a set of pseudo labels, which itself never changes.

Call `read_layers` on the set's folder. A layer knows the set, the layer below it and the export that it
answers; `reviewed_images` is what all layers up to one of them say.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from selftrain_jax.errors import InputError
from selftrain_jax.io import hash_file, read_json
from selftrain_jax.run_files.fields import (
    Count,
    Expected,
    FiniteNumber,
    JsonObject,
    Object,
    Text,
    open_document,
    to_json,
)

CORRECTIONS_FOLDER = "corrections"
LAST = "last"
OUTCOMES = ("kept", "moved", "relabelled", "removed", "added")
REMEDY = "The file was changed after it was written: restore it, or move it and the layers above it away."
_FILE_NAME = re.compile(r"\d{3,}\.json")

Outcome = Annotated[
    Literal["kept", "moved", "relabelled", "removed", "added"], Expected(f"one of {', '.join(OUTCOMES)}")
]
Box = Annotated[tuple[FiniteNumber, FiniteNumber, FiniteNumber, FiniteNumber], Expected("four numbers")]


@dataclass(frozen=True, kw_only=True)
class ReviewedBox:
    """What became of a box of the teacher's, or a box that a person added."""

    outcome: Outcome
    box: Box  # yxyx pixels of the image; of a removed one where it was
    class_id: Count  # what the person says; of a removed one what the teacher said
    index: Count | None = None  # in the image's record; None: added
    teacher_class: Count | None = None  # None: added
    score: FiniteNumber | None = None  # the teacher's


@dataclass(frozen=True, kw_only=True)
class ReviewedImage:
    """An image that a person has looked at: these boxes are all that it holds."""

    image_id: Text
    review: Text  # the digest of the review.json that it went out with
    removed: Annotated[Literal["background", "ignore"], Expected("background or ignore")]
    boxes: tuple[ReviewedBox, ...]
    by: Text = ""  # as the tool or config.review.by says
    at: Text = ""  # as the tool says


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One import of corrections."""

    label_set: Text  # `label_set_digest` of the set
    below: Text  # the digest of the layer below; "" for the first
    review: Text  # the digest of the review.json that it answers
    file: Text  # what was imported
    file_digest: Text
    format: Text
    imported: Text  # when, in UTC
    settings: Object
    images: tuple[ReviewedImage, ...]

    @classmethod
    def from_json(cls, value: Any, path: Path) -> "Layer":
        """Check a file. Raises: InputError, as `Document.read`."""
        return open_document(value, path, REMEDY).read(cls)

    def to_json(self) -> JsonObject:
        """Return the object for the file."""
        return to_json(self)


class Corrections(NamedTuple):
    """What came back from an annotation tool."""

    format: str
    file_digest: str
    num_images: int  # in the file
    reviewed: tuple[ReviewedImage, ...]  # those that a person has looked at, in the order that they went out


class StoredLayer(NamedTuple):
    """A layer on the disk."""

    path: Path
    digest: str  # of the file: what is stacked on it, and a student that uses it, name it
    layer: Layer


def read_layers(labels: Path) -> list[StoredLayer]:
    """Read the layers of a set of pseudo labels, the lowest first; none where nothing was imported.

    A folder of a variant or of another run's labels leads to the folder that the set is in.

    Raises:
        InputError: a layer is damaged, missing or changed.
    """
    return _read_chain(corrections_folder(labels))


def corrections_folder(labels: Path) -> Path:
    """Return where the layers of a labels' folder are: with the set itself, where the folder is links."""
    return (labels / "stage.json").resolve().parent / CORRECTIONS_FOLDER


def layer_path(folder: Path, number: int) -> Path:
    """Return a layer's file; layers are counted from 1."""
    return folder / f"{number:03d}.json"


def _read_chain(folder: Path) -> list[StoredLayer]:
    names = sorted(path.name for path in folder.glob("*.json")) if folder.is_dir() else []
    numbered = [name for name in names if _FILE_NAME.fullmatch(name)]
    layers: list[StoredLayer] = []
    for number, name in enumerate(numbered, start=1):
        path = layer_path(folder, number)
        if path.name != name:
            raise InputError(f"{path} is missing, but {folder / name} is there. {REMEDY}")
        digest = hash_file(path)
        layer = Layer.from_json(read_json(path, REMEDY), path)
        below = layers[-1].digest if layers else ""
        if layer.below != below:
            raise InputError(
                f"{path} is a layer on {layer.below[:12] or 'the labels themselves'}, but the one below it "
                f"is {below[:12] or 'none'}. {REMEDY}"
            )
        layers.append(StoredLayer(path, digest, layer))
    return layers


def layers_up_to(labels: Path, which: str, label_set: str) -> list[StoredLayer]:
    """Return the layers that `which` names: "last", a number, or the path of a layer's file.

    None are there yet: an empty list.

    Raises:
        InputError: there are layers but not this one, or it corrects another set of labels.
    """
    is_path = which != LAST and not which.isdecimal()
    folder = Path(which).parent if is_path else corrections_folder(labels)
    layers = _read_chain(folder)
    if is_path:
        number = next((n for n, stored in enumerate(layers, 1) if stored.path.name == Path(which).name), 0)
    else:
        number = len(layers) if which == LAST else int(which)
    if (layers or is_path) and not 1 <= number <= len(layers):
        there = f"it has layers 1 to {len(layers)}" if layers else "there is none"
        raise InputError(
            f"config.pseudo.corrections={which}: {folder} has no such layer, {there}; give last, one of "
            "their numbers or the path of one"
        )
    for stored in layers[:number]:
        if stored.layer.label_set != label_set:
            raise InputError(
                f"{stored.path} corrects another set of pseudo labels ({stored.layer.label_set}) than this "
                f"run's ({label_set}); its boxes are other ones. Export these labels and import corrections "
                "of them."
            )
    return layers[:number]


def reviewed_images(layers: Sequence[Layer]) -> dict[str, ReviewedImage]:
    """Return what is known of each image that was reviewed: the highest layer that has it counts."""
    return {image.image_id: image for layer in layers for image in layer.images}


def count_outcomes(images: Mapping[str, ReviewedImage]) -> dict[int, dict[str, int]]:
    """Count what became of boxes, by the teacher's class; of added ones by the person's."""
    counts: dict[int, dict[str, int]] = {}
    for image in images.values():
        for box in image.boxes:
            class_id = box.class_id if box.teacher_class is None else box.teacher_class
            counts.setdefault(class_id, dict.fromkeys(OUTCOMES, 0))[box.outcome] += 1
    return {class_id: counts[class_id] for class_id in sorted(counts)}
