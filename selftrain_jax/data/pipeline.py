"""From a source to training batches: read, augment, pad, batch, prefetch.

Which example is at which position of the stream, and how it is augmented, depends only on the seed and the
position, so that a run resumes at any step without saved iterator state. Call `make_batches` for one source
and the `TargetSpec` of a task; `selftrain.mixing.mix_batches` joins a human and a pseudo stream.
"""

import itertools
import os
import threading
import traceback
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from selftrain_jax import hosts
from selftrain_jax.data.batch_timeout import Reading, with_timeout
from selftrain_jax.data.problems import check_bad_count
from selftrain_jax.data.sampling import Permutation, example_index, raw_permutation
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.types import Batch, Batches, BatchStream, BoxTargets, ClassTargets, Example, MaskTargets

MAX_STALL_SECS = 600.0
IMAGE_SPEC = tf.TensorSpec([None, None, 3], tf.uint8)

Tensors = dict[str, Any]
Augment = Callable[[Tensors, Any], Tensors]
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


def make_batches(
    source: Source,
    target_spec: TargetSpec,
    *,
    augment: Augment,
    batch_size: int,
    seed: int,
    is_pseudo: bool = False,
    max_bad_images: int = 0,
    max_stall_secs: float = MAX_STALL_SECS,
    permutation: Permutation = raw_permutation,
    epoch_length: int = 0,
    index_at: Callable[[int], int] | None = None,
) -> Batches:
    """Return the function that streams batches of `source` from a given step on.

    Each host makes its own part of every batch, ahead of when it is asked for. `permutation` is the order of
    an epoch: a run must resume with the one that it began with. `epoch_length` is how many positions it has;
    0: as many as there are examples. `index_at` says which example is at a position in place of both.

    Raises:
        InputError: the source is empty; from the stream: see `Reader` and the task's `TargetSpec`, or the
            hosts do not divide the batch.
        RunAgainError: from the stream: a batch took longer than `max_stall_secs`.
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

    def stream(start_step: int) -> BatchStream:
        failures: list[InputError] = []
        positions = _positions_from(start_step, batch_size)
        examples = load_examples(positions, read, target_spec, augment_at, failures)
        batches = iterate_batches(examples, len(hosts.shard_range(batch_size)), failures, is_pseudo=is_pseudo)
        with closing(with_timeout(max_stall_secs, batches, reader.reading.describe)) as timed:
            for batch, indices in timed:
                yield batch, [source.image_ids[index] for index in indices]

    return stream


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
        targets = target_spec.to_targets(tensors)
        return {"image": tensors["image"], "targets": targets, "index": tf.ensure_shape(index, [])}

    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return positions.map(to_tensors, num_parallel_calls=max(2, num_cores)).with_options(options)


def iterate_batches(
    examples: tf.data.Dataset, batch_size: int, failures: list[InputError], *, is_pseudo: bool = False
) -> Generator[tuple[Batch, np.ndarray], None, None]:
    """Yield batches, made ahead, and the indices of their examples.

    Raises:
        InputError: the first of `failures`.
    """
    with closing(_iterate(examples.batch(batch_size).prefetch(2))) as made:
        try:
            for arrays in made:
                flags: Any = np.full(len(arrays["image"]), is_pseudo)
                yield Batch(arrays["image"], arrays["targets"], flags), arrays["index"]
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
