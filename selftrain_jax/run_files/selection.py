"""selection.json: which unlabelled images to label next, and why; `read_chosen_ids` gives their ids."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selftrain_jax.io import read_json
from selftrain_jax.run_files.fields import (
    Count,
    FiniteNumber,
    Integer,
    JsonObject,
    Text,
    open_document,
    to_json,
)

SELECTION_FILE = "selection.json"
REMEDY = "Run --job=select again; it writes the file anew."


@dataclass(frozen=True, kw_only=True)
class SelectedImage:
    """An image to label. Scores are None where nothing computed them; see `selection.choose`."""

    rank: Count  # from 1
    image_id: Text
    path: Text  # of the file to label
    reason: Text
    uncertainty: FiniteNumber | None = None
    rarity: FiniteNumber | None = None
    diversity: FiniteNumber | None = None  # distance to the nearest image that was labelled or chosen before
    rarest_class: Text | None = None  # the class that most of the rarity is from


@dataclass(frozen=True, kw_only=True)
class SelectionSettings:
    """What a selection depends on."""

    budget: Count
    by: tuple[Text, ...]
    pool_factor: Count
    max_distance: Integer
    seed: Count
    model: Text  # whose weights: the folder of its checkpoint in the run's folder
    digest: Text  # of these weights
    labelled_images: Text  # digests of the data
    unlabelled_images: Text


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The chosen images in order, and what they were chosen from."""

    settings: SelectionSettings
    source: Text
    num_labelled: Count
    num_unlabelled: Count
    num_undecodable: Count  # of the unlabelled images
    like_labelled: Count  # unlabelled images left out as near-duplicates of labelled ones
    like_chosen: Count  # and of chosen ones
    # Largest distance of an unlabelled image to its nearest labelled one; to its nearest labelled or chosen.
    radius_before: FiniteNumber | None = None
    radius_after: FiniteNumber | None = None
    chosen: tuple[SelectedImage, ...]

    @classmethod
    def from_json(cls, value: Any, path: Path) -> "Selection":
        """Check a file. Raises: InputError, as `Document.read`, and where an image is chosen twice."""
        document = open_document(value, path, REMEDY)
        selection = document.read(cls)
        if len(set(selection.image_ids)) < len(selection.chosen):
            raise document.error("chosen has an image twice")
        return selection

    def to_json(self) -> JsonObject:
        """Return the object for the file, keys in the order of the file."""
        return to_json(self)

    @property
    def image_ids(self) -> tuple[str, ...]:
        """The chosen images, the first one first."""
        return tuple(image.image_id for image in self.chosen)


def read_selection(path: Path) -> Selection:
    """Read a selection.json. Raises: InputError, as `Selection.from_json`."""
    return Selection.from_json(read_json(path, "run --job=select --config.select.budget=50 first"), path)


def read_chosen_ids(path: Path) -> tuple[str, ...]:
    """Read the ids of the chosen images, the first one first. Raises: InputError, as `read_selection`."""
    return read_selection(path).image_ids
