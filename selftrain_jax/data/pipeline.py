"""From a source to training batches: read, augment, pad, batch, prefetch (Paper: Section 3.1).

Which example stands at which place, and with which augmentation, is a pure function of the seed
and of the place, so a run resumes at any step with no iterator state to save.
Call `make_batches` for one source; `selftrain.mixing.mix_batches` joins a human and a pseudo one.
"""

import functools
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from selftrain_jax import hosts
from selftrain_jax.data.source import Source
from selftrain_jax.data.stall import Reading, no_longer_than
from selftrain_jax.errors import InputError
from selftrain_jax.types import Batch, Batches, BoxTargets, Example

MAX_STALL_SECS = 600.0
Augment = Callable[[dict[str, Any], Any], dict[str, Any]]


@functools.lru_cache(maxsize=4)
def _permutation(length: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(length)


def example_index(place: int, length: int, seed: int) -> int:
    """Return which of `length` examples stands at `place`: each once an epoch, newly shuffled."""
    epoch, offset = divmod(place, length)
    return int(_permutation(length, seed, epoch)[offset])


class Reader:
    """Reads training examples of a source, passing over those whose image or mask cannot be read.

    The next example takes the place of a bad one; the distinct bad ones are counted, and one
    more than `max_bad_images` ends the run.
    """

    def __init__(self, source: Source, *, max_bad_images: int, max_boxes: int = 0):
        self.reading = Reading()
        if not len(source):
            raise InputError(f"{source.name} has no example; a batch cannot be made from it")
        self._source, self._max_boxes, self._max_bad_images = source, max_boxes, max_bad_images
        self._bad: dict[int, str] = {}
        self._lock = threading.Lock()

    def __call__(self, index: int) -> tuple[int, Example]:
        """Return the index that was read and its example, without crowd boxes where it has boxes.

        Raises:
          InputError: too many images cannot be read, or an image has more than `max_boxes` boxes.
        """
        for candidate in range(index, index + len(self._source)):
            candidate %= len(self._source)
            if candidate in self._bad:
                continue
            try:
                with self.reading.note(self._source.image_ids[candidate]):
                    example = self._source.read(candidate)
                return candidate, self._check(_without_crowd(example)) if "boxes" in example else example
            except _TooManyBoxesError as error:
                raise InputError(str(error)) from None
            except InputError as error:
                self._count_bad(candidate, str(error))
        raise InputError(f"no image of {self._source.name} can be read")

    def _check(self, example: Example) -> Example:
        if len(example["boxes"]) > self._max_boxes:
            raise _TooManyBoxesError(
                f"image {example['image_id']} of {self._source.name} has {len(example['boxes'])} boxes, but "
                f"config.image.max_boxes is {self._max_boxes}; raise it"
            )
        return example

    def _count_bad(self, index: int, message: str) -> None:
        with self._lock:
            self._bad[index] = message
            if len(self._bad) > self._max_bad_images:
                shown = "; ".join(list(self._bad.values())[:5])
                raise InputError(
                    f"{len(self._bad)} images of {self._source.name} cannot be read, allowed are "
                    f"{self._max_bad_images} (config.data.max_bad_images): {shown}"
                )


class _TooManyBoxesError(InputError):
    """An image with more boxes than slots: not a bad image, and not to be passed over."""


def _without_crowd(example: Example) -> Example:
    keep = ~example.get("is_crowd", np.zeros(len(example["boxes"]), bool))
    per_box = ("boxes", "classes", "scores", "is_ignore", "is_crowd", "areas")
    return {key: value[keep] if key in per_box else value for key, value in example.items()}  # type: ignore


def make_batches(
    source: Source,
    *,
    augment: Augment,
    batch_size: int,
    max_boxes: int,
    seed: int,
    max_bad_images: int = 0,
    max_stall_secs: float = MAX_STALL_SECS,
    is_pseudo: bool = False,
) -> Batches:
    """Return the function that streams batches of `source` from a given step on.

    Raises:
      InputError: from the stream: see `Reader`.
      RunAgainError: from the stream: a batch took longer than `max_stall_secs`.
    """
    reader = Reader(source, max_bad_images=max_bad_images, max_boxes=max_boxes)

    def stream(start_step: int) -> Iterator[tuple[Batch, list[str]]]:
        failures: list[InputError] = []
        places = places_from(start_step, batch_size)
        dataset = _examples(reader, len(source), augment, max_boxes, seed, places, failures)
        for arrays in batches_of(dataset, batch_size, failures, reader, max_stall_secs):
            yield _to_batch(arrays, is_pseudo), [source.image_ids[i] for i in arrays["index"]]

    return stream


def iterate(dataset: tf.data.Dataset, failures: list[InputError]) -> Iterator[Any]:
    """Yield a dataset's elements as numpy arrays.

    Raises:
      InputError: the first of `failures`, where its Python functions leave what went wrong.
    """
    try:
        yield from dataset.as_numpy_iterator()
    except tf.errors.OpError:
        if failures:
            raise failures[0] from None
        raise


def _examples(
    reader: Reader,
    length: int,
    augment: Augment,
    max_boxes: int,
    seed: int,
    places: tf.data.Dataset,
    failures: list[InputError],
) -> tf.data.Dataset:
    """Return the stream of the augmented and padded examples at some places."""

    def read(place: np.int64) -> tuple[Any, ...]:
        try:
            index, example = reader(example_index(int(place), length, seed))
        except InputError as error:
            failures.append(error)
            raise
        ignore = example.get("is_ignore", np.zeros(len(example["boxes"]), bool))
        return np.int64(index), example["image"], example["boxes"], example["classes"], ignore

    @tf.autograph.experimental.do_not_convert
    def to_tensors(place: tf.Tensor) -> dict[str, tf.Tensor]:
        types = (tf.int64, tf.uint8, tf.float32, tf.int32, tf.bool)
        index, image, boxes, classes, ignore = tf.numpy_function(read, [place], types, stateful=False)
        tensors = {
            "image": tf.ensure_shape(image, [None, None, 3]),
            "boxes": tf.ensure_shape(boxes, [None, 4]),
            "classes": tf.ensure_shape(classes, [None]),
            "is_ignore": tf.ensure_shape(ignore, [None]),
        }
        augmented = augment(tensors, seed_of(place, seed))
        return pad_boxes(augmented, max_boxes) | {"index": tf.ensure_shape(index, [])}

    return map_places(to_tensors, places)


def places_from(start_step: int, batch_size: int) -> tf.data.Dataset:
    """Count the places of this host's part of every batch, endlessly from the one of `start_step` on.

    Raises:
      InputError: the hosts do not divide the batch.
    """
    part = hosts.shard_range(batch_size)
    if batch_size % hosts.count():
        raise InputError(
            f"{batch_size} images cannot be shared evenly by {hosts.count()} hosts; use a multiple"
        )
    own = tf.data.Dataset.range(part.start, part.stop)
    steps = tf.data.Dataset.counter(start=start_step, step=1, dtype=tf.int64)
    return steps.flat_map(lambda step: own.map(lambda offset: step * batch_size + offset))


def batches_of(
    examples: tf.data.Dataset,
    batch_size: int,
    failures: list[InputError],
    reader: Reader,
    max_stall_secs: float,
) -> Iterator[dict[str, Any]]:
    """Put examples together to this host's part of each batch, made ahead of when it is asked for.

    Raises:
      InputError: the first of `failures`.
      RunAgainError: a batch took longer than `max_stall_secs`.
    """
    batches = iterate(examples.batch(len(hosts.shard_range(batch_size))).prefetch(2), failures)
    return no_longer_than(max_stall_secs, batches, reader.reading.describe)


def map_places(
    to_tensors: Callable[[tf.Tensor], dict[str, tf.Tensor]], places: tf.data.Dataset
) -> tf.data.Dataset:
    """Apply a function to each place, on all cores and in order."""
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    workers = max(2, len(_cores()))
    return places.map(to_tensors, num_parallel_calls=workers).with_options(options)


def seed_of(place: tf.Tensor, seed: int) -> tf.Tensor:
    """Give the seed of the augmentation at a place."""
    return tf.stack([tf.constant(seed, tf.int32), tf.cast(place % (2**31 - 1), tf.int32)])


def _cores() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def pad_boxes(tensors: dict[str, tf.Tensor], max_boxes: int) -> dict[str, tf.Tensor]:
    """Pad the per-box tensors to `max_boxes` slots and mark the ones in use as `valid`."""
    count = tf.shape(tensors["boxes"])[0]
    slots = [[0, max_boxes - count]]
    padded = {key: tf.pad(tensors[key], slots) for key in ("classes", "is_ignore")}
    boxes = tf.pad(tensors["boxes"], [*slots, [0, 0]])
    result = {"image": tensors["image"], "boxes": tf.ensure_shape(boxes, [max_boxes, 4])}
    result |= {key: tf.ensure_shape(value, [max_boxes]) for key, value in padded.items()}
    return result | {"valid": tf.range(max_boxes) < count}


def _to_batch(arrays: dict[str, Any], is_pseudo: bool) -> Batch:
    targets = BoxTargets(arrays["boxes"], arrays["classes"], arrays["valid"], arrays["is_ignore"])
    flags: Any = np.full(len(arrays["image"]), is_pseudo)
    return Batch(arrays["image"], targets, flags)


def take_steps(batches: Batches, start_step: int, num_steps: int) -> list[tuple[Batch, list[str]]]:
    """Return `num_steps` batches as a list (tests, galleries, benchmarks)."""
    return list(itertools.islice(batches(start_step), num_steps))
