"""From a source to training batches: read, augment, pad, batch, prefetch.

Which example is at which position of the stream, and how it is augmented, depends only on the seed and the
position, so that a run resumes at any step without saved iterator state. Call `make_batches` for one source
and the `TargetSpec` of a task; `batch_examples` interleaves the streams of several, human and pseudo.
"""

import itertools
import os
import threading
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from jaxtyping import Bool

from selftrain_jax import hosts
from selftrain_jax.data.batch_timeout import Reading, describe_readings, with_timeout
from selftrain_jax.data.problems import check_bad_count
from selftrain_jax.data.sampling import Permutation, example_index, raw_permutation
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.types import Batch, Batches, BatchStream, BoxTargets, ClassTargets, Example, MaskTargets

MAX_STALL_SECS = 600.0
IMAGE_SPEC = tf.TensorSpec([None, None, 3], tf.uint8)

Tensors = dict[str, Any]
Augment = Callable[[Tensors, Any], Tensors]
Place = Callable[[Batch], Batch]
"""From a batch on the host to the same on the devices."""
Read = Callable[[int], tuple[int, Mapping[str, np.ndarray]]]
"""From a position to the index of the example there, its `image` and what a `TargetSpec` reads."""


class TargetSpec(NamedTuple):
    """The labels of a task on their way into a batch."""

    signature: Mapping[str, tf.TensorSpec]
    """Dtype and shape of each array that `read` returns."""
    read: Callable[[Example, str], Mapping[str, np.ndarray]]
    """Take the arrays out of an example. An InputError (the text says where) ends the run."""
    to_targets: Callable[[Tensors], BoxTargets | MaskTargets | ClassTargets]
    """Make one image's targets of the augmented tensors, padded to a shape that is the same for all."""


class Reader:
    """Reads training examples of a source and skips those whose image or labels cannot be read.

    The next good example is read instead of a bad one. More than `max_bad_images` bad ones, each counted
    once, end the run with an InputError.
    """

    def __init__(self, source: Source, *, max_bad_images: int):
        self.reading = Reading()
        if not len(source):
            raise InputError(f"{source.name} has no example; a batch cannot be made from it")
        self._source, self._max_bad_images = source, max_bad_images
        self._bad: dict[int, str] = {}
        self._lock = threading.Lock()

    def __call__(self, index: int) -> tuple[int, Example]:
        """Return the index that was read, and its example."""
        for candidate in range(index, index + len(self._source)):
            candidate %= len(self._source)
            if candidate in self._bad:
                continue
            try:
                with self.reading.note(self._source.image_ids[candidate]):
                    return candidate, self._source.read(candidate)
            except InputError as error:
                with self._lock:
                    self._bad[candidate] = str(error)
                    what = f"images of {self._source.name} cannot be read"
                    check_bad_count(list(self._bad.values()), self._max_bad_images, what)
        raise InputError(f"no image of {self._source.name} can be read")


class ExampleStream(NamedTuple):
    """A source's share of every batch, read and augmented; `batch_examples` makes batches of one or more."""

    image_ids: Sequence[str]
    batch_size: int  # its images of a batch, of all hosts together
    is_pseudo: bool
    reading: Reading
    from_step: Callable[[int, list[InputError]], tf.data.Dataset]
    """This host's examples from a step on, endlessly; errors of reading are left in the list."""


def make_examples(
    source: Source,
    target_spec: TargetSpec,
    *,
    augment: Augment,
    batch_size: int,
    seed: int,
    is_pseudo: bool = False,
    max_bad_images: int = 0,
    permutation: Permutation = raw_permutation,
    epoch_length: int = 0,
    index_at: Callable[[int], int] | None = None,
) -> ExampleStream:
    """Return the stream of augmented examples of which each batch has the next `batch_size`.

    Each host makes its own part of them. `permutation` is the order of an epoch: a run must resume with the
    one that it began with. `epoch_length` is how many positions it has; 0: as many as there are examples.
    `index_at` says which example is at a position in place of both.

    Raises:
        InputError: the source is empty; from the stream: see `Reader` and the task's `TargetSpec`, or the
            hosts do not divide the batch.
    """
    reader = Reader(source, max_bad_images=max_bad_images)
    length = epoch_length or len(source)
    find = index_at or (lambda position: example_index(position, length, seed, permutation=permutation))

    def read(position: int) -> tuple[int, Mapping[str, np.ndarray]]:
        index, example = reader(find(position))
        arrays = target_spec.read(example, f"image {example['image_id']} of {source.name}")
        return index, {**arrays, "image": example["image"]}

    def augment_at(tensors: Tensors, position: tf.Tensor) -> Tensors:
        position = tf.cast(position % (2**31 - 1), tf.int32)
        return augment(tensors, tf.stack([tf.constant(seed, tf.int32), position]))

    def from_step(start_step: int, failures: list[InputError]) -> tf.data.Dataset:
        positions = _positions_from(start_step, batch_size)
        return load_examples(positions, read, target_spec, augment_at, failures)

    return ExampleStream(source.image_ids, batch_size, is_pseudo, reader.reading, from_step)


def batch_examples(
    streams: Sequence[ExampleStream],
    origins: Sequence[int],
    *,
    max_stall_secs: float = MAX_STALL_SECS,
    place: Place = lambda batch: batch,
) -> Batches:
    """Return the function that streams batches from a given step on, made ahead of when they are asked for.

    `origins` says of each image of this host's part of a batch which of `streams` it is from; images are
    copied once, from where they were augmented into their row. `place` puts a batch on the devices, in the
    thread that reads ahead.

    Raises:
        InputError: from the stream: what the streams of examples raise.
        RunAgainError: from the stream: a batch took longer than `max_stall_secs`.
    """
    for number, stream in enumerate(streams):
        assert list(origins).count(number) == len(hosts.shard_range(stream.batch_size))
    is_pseudo = np.array([streams[origin].is_pseudo for origin in origins])

    def make_ahead(examples: tf.data.Dataset, failures: list[InputError]) -> BatchStream:
        with closing(iterate_batches(examples, is_pseudo, failures)) as made:
            for batch, indices in made:
                found = zip(origins, indices, strict=True)
                yield place(batch), [streams[origin].image_ids[index] for origin, index in found]

    def stream_from(start_step: int) -> BatchStream:
        failures: list[InputError] = []
        examples = tf.data.Dataset.choose_from_datasets(
            [stream.from_step(start_step, failures) for stream in streams],
            tf.data.Dataset.from_tensor_slices(np.array(origins, np.int64)).repeat(),
        )
        readings = [stream.reading for stream in streams]
        ahead = make_ahead(examples, failures)
        with closing(with_timeout(max_stall_secs, ahead, lambda: describe_readings(readings))) as timed:
            yield from timed

    return stream_from


def make_batches(
    source: Source,
    target_spec: TargetSpec,
    *,
    max_stall_secs: float = MAX_STALL_SECS,
    place: Place = lambda batch: batch,
    **settings: Any,
) -> Batches:
    """Return the function that streams batches of one source; `settings` are those of `make_examples`."""
    examples = make_examples(source, target_spec, **settings)
    origins = [0] * len(hosts.shard_range(examples.batch_size))
    return batch_examples([examples], origins, max_stall_secs=max_stall_secs, place=place)


def load_examples(
    positions: tf.data.Dataset,
    read: Read,
    target_spec: TargetSpec,
    transform: Callable[[Tensors, tf.Tensor], Tensors],
    failures: list[InputError],
) -> tf.data.Dataset:
    """Read and transform the example at each position, on all cores and in order.

    What `read` raises is left in `failures`, as TensorFlow does not hand Python's exceptions on.
    """
    signature = {"image": IMAGE_SPEC, **target_spec.signature}

    def read_position(position: np.int64) -> tuple[Any, ...]:
        try:
            index, arrays = read(int(position))
        except InputError as error:
            failures.append(error)
            raise
        return np.int64(index), *(arrays[name] for name in signature)

    @tf.autograph.experimental.do_not_convert
    def to_tensors(position: tf.Tensor) -> Tensors:
        dtypes = [tf.int64, *(spec.dtype for spec in signature.values())]
        index, *values = tf.numpy_function(read_position, [position], dtypes, stateful=False)
        tensors = {
            name: tf.ensure_shape(value, spec.shape)
            for (name, spec), value in zip(signature.items(), values, strict=True)
        }
        tensors = transform(tensors, position)
        image = tensors["image"]
        return {
            "image": image,
            "covered_px": tensors.get("covered_px", tf.shape(image)[:2]),  # where it is not said, all
            "targets": target_spec.to_targets(tensors),
            "index": tf.ensure_shape(index, []),
        }

    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return positions.map(to_tensors, num_parallel_calls=max(2, num_cores)).with_options(options)


def iterate_batches(
    examples: tf.data.Dataset, is_pseudo: Bool[np.ndarray, " B"], failures: list[InputError]
) -> Generator[tuple[Batch, np.ndarray], None, None]:
    """Yield batches, made ahead, and the indices of their examples; `is_pseudo` is that of each batch.

    Raises:
        InputError: the first of `failures`.
    """
    flags: Any = is_pseudo
    with closing(_iterate(examples.batch(len(is_pseudo)).prefetch(2))) as made:
        try:
            for arrays in made:
                batch = Batch(arrays["image"], arrays["targets"], flags, covered_px=arrays["covered_px"])
                yield batch, arrays["index"]
        except tf.errors.OpError:
            if failures:
                raise failures[0] from None
            raise


def _iterate(dataset: tf.data.Dataset) -> Generator[Any, None, None]:
    """Yield what a dataset makes, as numpy; its iterator is gone, and its threads, when this ends."""
    # TensorFlow has no way to close an iterator but to destroy it: no name and no frame may keep it. One that
    # lives when the interpreter shuts down hangs there, for its threads wait for Python.
    iterator = dataset.as_numpy_iterator()
    try:
        yield from iterator
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)
        raise
    finally:
        del iterator


def take_steps(batches: Batches, start_step: int, num_steps: int) -> list[tuple[Batch, list[str]]]:
    """Return `num_steps` batches as a list (tests, galleries, benchmarks)."""
    with closing(batches(start_step)) as stream:
        return list(itertools.islice(stream, num_steps))


def _positions_from(start_step: int, batch_size: int) -> tf.data.Dataset:
    """Count the positions of this host's part of every batch, endlessly from `start_step` on."""
    part = hosts.shard_range(batch_size)
    if batch_size % hosts.count():
        raise InputError(
            f"{batch_size} images cannot be shared evenly by {hosts.count()} hosts; use a multiple"
        )
    offsets = tf.data.Dataset.range(part.start, part.stop)
    steps = tf.data.Dataset.counter(start=start_step, step=1, dtype=tf.int64)
    return steps.flat_map(lambda step: offsets.map(lambda offset: step * batch_size + offset))
