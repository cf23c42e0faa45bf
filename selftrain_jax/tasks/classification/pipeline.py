"""From a source of classified images to batches, for pre-training and joint training (Table 7).

`make_class_batches` streams training batches: which image stands at which place, and how it is augmented, is
a pure function of seed and place, as in `data.pipeline`. `read_in_order` goes once over a source to evaluate.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from selftrain_jax.data.pipeline import (
    MAX_STALL_SECS,
    Augment,
    Reader,
    batches_of,
    example_index,
    iterate,
    map_places,
    places_from,
    seed_of,
)
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.types import Batch, Batches, ClassTargets

NO_CLASS = -1


def make_class_batches(
    source: Source,
    *,
    augment: Augment,
    batch_size: int,
    seed: int,
    max_bad_images: int = 0,
    max_stall_secs: float = MAX_STALL_SECS,
) -> Batches:
    """Return the function that streams batches of `source`, with `ClassTargets`, from a given step on.

    Raises:
      InputError: the source is empty; from the stream: too many images do not decode.
    """
    reader = Reader(source, max_bad_images=max_bad_images)

    def read(place: int) -> tuple[int, np.ndarray, int]:
        index, example = reader(example_index(place, len(source), seed))
        return index, example["image"], example["image_class"]

    def stream(start_step: int) -> Iterator[tuple[Batch, list[str]]]:
        failures: list[InputError] = []
        places = places_from(start_step, batch_size)
        dataset = _examples(
            places, read, lambda image, place: augment({"image": image}, seed_of(place, seed)), failures
        )
        for arrays in batches_of(dataset, batch_size, failures, reader, max_stall_secs):
            yield _to_batch(arrays), [source.image_ids[index] for index in arrays["index"]]

    return stream


def read_in_order(
    source: Source,
    *,
    prepare: Callable[[tf.Tensor], tf.Tensor],
    batch_size: int,
    max_bad_images: int = 0,
) -> Iterator[Batch]:
    """Yield every image once, in batches of one size; class -1 marks padding and images that do not decode.

    `prepare` makes the network's input from a uint8 image.

    Raises:
      InputError: too many images do not decode.
    """
    bad: list[str] = []

    def read(place: int) -> tuple[int, np.ndarray, int]:
        if place >= len(source):
            return place, _blank(), NO_CLASS
        try:
            example = source.read(place)
        except InputError as error:
            bad.append(str(error))
            if len(bad) > max_bad_images:
                raise InputError(_too_many(source.name, bad, max_bad_images)) from None
            return place, _blank(), NO_CLASS
        return place, example["image"], example["image_class"]

    failures: list[InputError] = []
    num_places = -(-len(source) // batch_size) * batch_size
    places = tf.data.Dataset.range(num_places)
    dataset = _examples(places, read, lambda image, place: {"image": prepare(image)}, failures)
    for arrays in iterate(dataset.batch(batch_size).prefetch(2), failures):
        yield _to_batch(arrays)


def _examples(
    places: tf.data.Dataset,
    read: Callable[[int], tuple[int, np.ndarray, int]],
    prepare: Callable[[tf.Tensor, tf.Tensor], dict[str, tf.Tensor]],
    failures: list[InputError],
) -> tf.data.Dataset:
    """Read and prepare the image of each place."""

    def read_place(place: np.int64) -> tuple[Any, ...]:
        try:
            index, image, image_class = read(int(place))
        except InputError as error:
            failures.append(error)
            raise
        return np.int64(index), image, np.int32(image_class)

    @tf.autograph.experimental.do_not_convert
    def to_tensors(place: tf.Tensor) -> dict[str, tf.Tensor]:
        types = (tf.int64, tf.uint8, tf.int32)
        index, image, image_class = tf.numpy_function(read_place, [place], types, stateful=False)
        prepared = prepare(tf.ensure_shape(image, [None, None, 3]), place)
        return {**prepared, "index": tf.ensure_shape(index, []), "class": tf.ensure_shape(image_class, [])}

    return map_places(to_tensors, places)


def _blank() -> np.ndarray:
    return np.zeros((1, 1, 3), np.uint8)


def _too_many(name: str, bad: list[str], max_bad_images: int) -> str:
    return (
        f"{len(bad)} images of {name} do not decode, allowed are {max_bad_images} "
        f"(config.data.max_bad_images): {'; '.join(bad[:5])}"
    )


def _to_batch(arrays: dict[str, Any]) -> Batch:
    is_pseudo: Any = np.zeros(len(arrays["image"]), bool)
    return Batch(arrays["image"], ClassTargets(arrays["class"]), is_pseudo)
