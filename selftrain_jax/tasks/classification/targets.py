"""Classes of whole images on their way into a batch, for pre-training and joint training (Table 7).

Hand `CLASS_TARGETS` to `make_batches` to train; `read_in_order` goes over a source once to evaluate.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import closing

import numpy as np
import tensorflow as tf

from selftrain_jax.data.batch_timeout import Reading, with_timeout
from selftrain_jax.data.pipeline import MAX_STALL_SECS, TargetSpec, iterate_batches, load_examples
from selftrain_jax.data.problems import check_bad_count
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.types import Batch, ClassTargets, Example

NO_CLASS = -1
CLASS_TARGETS = TargetSpec(
    signature={"class": tf.TensorSpec([], tf.int32)},
    read=lambda example, where: {"class": np.array(example["image_class"], np.int32)},
    to_targets=lambda tensors: ClassTargets(tensors["class"]),
)


def read_in_order(
    source: Source,
    *,
    prepare: Callable[[tf.Tensor], tf.Tensor],
    batch_size: int,
    max_bad_images: int = 0,
    max_stall_secs: float = MAX_STALL_SECS,
) -> Generator[Batch, None, None]:
    """Yield every image once, in batches of one size; class -1 marks padding and images that do not decode.

    `prepare` crops an image to the network's input, all of it.

    Raises:
        InputError: too many images do not decode.
        RunAgainError: a batch took longer than `max_stall_secs`.
    """
    reading = Reading()
    blank: Example = {"image": np.zeros((1, 1, 3), np.uint8), "image_class": NO_CLASS}
    bad: list[InputError] = []

    def read(position: int) -> tuple[int, Mapping[str, np.ndarray]]:
        example = blank
        if position < len(source):
            try:
                with reading.note(source.image_ids[position]):
                    example = source.read(position)
            except InputError as error:
                bad.append(error)
                check_bad_count(bad, max_bad_images, f"images of {source.name} do not decode")
        return position, {"image": example["image"], **CLASS_TARGETS.read(example, "")}

    failures: list[InputError] = []
    positions = tf.data.Dataset.range(-(-len(source) // batch_size) * batch_size)
    examples = load_examples(
        positions,
        read,
        CLASS_TARGETS,
        lambda tensors, position: {**tensors, "image": prepare(tensors["image"])},
        failures,
    )
    batches = iterate_batches(examples, np.zeros(batch_size, bool), failures)
    with closing(with_timeout(max_stall_secs, batches, reading.describe)) as timed:
        for batch, _ in timed:
            yield batch
