"""Other models' predictions on a run's images, read and ready to become labels.

`tasks/<task>/pseudo/foreign.py` makes them; `label_with` returns a labeller for `write_pseudo_labels`.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from typing import NamedTuple

from selftrain_jax.data.source import Source, decode_image
from selftrain_jax.errors import InputError
from selftrain_jax.run_files.fields import JsonObject
from selftrain_jax.selftrain.inference import Chunk, Inferred, InferredChunk
from selftrain_jax.selftrain.labeller import Labeller
from selftrain_jax.threads import thread_pool
from selftrain_jax.types import Example

Pairs = Callable[[], Iterator[tuple[Example, Example]]]
"""Gives (truth, found) labels of the images of val."""


class Teacher(NamedTuple):
    """Our own teacher, as one of several that label."""

    labeller: Labeller
    on_val: Pairs


class ForeignLabels(NamedTuple):
    """Predictions that fit the run's images and classes."""

    source: Source  # the images that get labels; without those that no model has looked at
    lines: tuple[str, ...]  # what was read, decided and left out, for people
    # With a teacher or without, the labeller, and for the manifest what each model is and counts.
    label_with: Callable[[Teacher | None], tuple[Labeller, tuple[JsonObject, ...]]]


def read_unlabelled(
    chunks: Iterable[Chunk], *, source: Source, num_threads: int
) -> Generator[InferredChunk, None, None]:
    """Decode the images of each chunk, to be given labels; an image that does not decode is its error."""
    with thread_pool(num_threads) as pool:
        for shard, indices in chunks:
            yield shard, list(pool.map(lambda index: _read_one(index, source), indices))


def _read_one(index: int, source: Source) -> Inferred | InputError:
    image_id = source.image_ids[index]
    try:
        encoded = source.read_encoded(index)
        height, width = decode_image(encoded, f"image {image_id} of {source.name}").shape[:2]
    except InputError as error:
        return error
    return Inferred(encoded, (height, width), {"image_id": image_id, "is_pseudo": True})


def relabel_chunks(
    chunks: Generator[InferredChunk, None, None], relabel: Callable[[Inferred], Example]
) -> Generator[InferredChunk, None, None]:
    """Give each image that decodes the labels that `relabel` returns; closes `chunks` at the end."""
    with closing(chunks):
        for shard, images in chunks:
            labelled = [
                image._replace(labels=relabel(image)) if isinstance(image, Inferred) else image
                for image in images
            ]
            yield shard, labelled
