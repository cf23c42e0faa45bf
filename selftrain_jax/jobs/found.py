"""A trained network in Python, `Model`, and what it finds in an image: `Boxes` or a `ClassMap`."""

import pathlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from ml_collections import ConfigDict
from PIL import Image

from selftrain_jax.data.source import Source
from selftrain_jax.data.sources.given_images import GivenImage, read_given_images
from selftrain_jax.tasks.lookup import get_self_training
from selftrain_jax.types import Category, Example, Variables

LEVELS = 256  # of confidence in a record


class Boxes(NamedTuple):
    """The boxes in an image, the surest first."""

    boxes: Float[np.ndarray, "N 4"]  # ymin, xmin, ymax, xmax in the image's pixels
    scores: Float[np.ndarray, " N"]
    class_ids: Int[np.ndarray, " N"]
    class_names: tuple[str, ...]  # [N]

    def above(self, score: float) -> "Boxes":
        """Return the boxes of at least this score."""
        kept = np.flatnonzero(self.scores >= score)
        names = tuple(self.class_names[index] for index in kept)
        return Boxes(self.boxes[kept], self.scores[kept], self.class_ids[kept], names)


class ClassMap(NamedTuple):
    """The class of each pixel of an image."""

    class_ids: UInt8[np.ndarray, "H W"]
    scores: Float[np.ndarray, "H W"]  # the probability of that class, rounded down to 256ths
    class_names: Mapping[int, str]  # of all classes, by id


def describe_found(labels: Example, names: Mapping[int, str]) -> Boxes | ClassMap:
    """Name the classes of an image's labels, as a record has them.

    Where ids have gaps, as COCO's have, a network may say one of these ids; its name is then `id 69`.
    """
    if "boxes" in labels:
        ids = labels["classes"]
        order = np.argsort(-labels["scores"], kind="stable")
        found = tuple(names.get(int(ids[index]), f"id {ids[index]}") for index in order)
        return Boxes(labels["boxes"][order], labels["scores"][order], ids[order], found)
    return ClassMap(labels["mask"], labels["confidence"].astype(np.float32) / LEVELS, dict(names))


@dataclass(frozen=True)
class Model:
    """A network with its weights, which finds boxes or class maps in images."""

    config: ConfigDict
    categories: tuple[Category, ...]
    checkpoint: pathlib.Path  # the folder that the weights are of
    variables: Variables  # of an export none: they are in its file
    # Yields what is found in each image of a source, in its pixels: labels as a record has them.
    find: Callable[[Source], Generator[Example, None, None]]

    def predict(self, images: GivenImage | Sequence[GivenImage]) -> list[Boxes | ClassMap]:
        """Return what is found in each image, in its own pixels, in order.

        An image is a file's path, an RGB array [H, W, 3] of uint8, or one of PIL's; a folder stands for all
        images below it, sorted by path. The first call compiles the network for `batch_size` images.

        Raises:
            InputError: an image cannot be read, or is of another form.
        """
        source = read_given_images(images)
        names = dict(self.categories)
        return [describe_found(labels, names) for labels in self.find(source)]

    def draw(self, image: GivenImage) -> Image.Image:
        """Return an image with what is found in it; boxes below config.pseudo.threshold are dashed."""
        source = read_given_images(image)
        (labels,) = self.find(source)
        draw = get_self_training(self.config.task).draw_labels
        pixels = source.read_image(0)
        return Image.fromarray(draw(self.config, pixels, labels, self.categories, max(pixels.shape[:2])))

    def write(self, source: Source, output: pathlib.Path) -> str:
        """Write what is found in a source as --job=predict does, and say in a phrase what it is."""
        write_found = get_self_training(self.config.task).write_found
        return write_found(self.config, source, self.find(source), self.categories, output)
