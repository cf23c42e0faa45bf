"""From a source of images with masks to training batches (Paper: Section 3.1, segmentation).

Call `make_mask_batches` for one source; `selftrain.mixing.mix_batches` joins a human and a pseudo one. What
stands at which place, and how it is augmented, is a pure function of seed and place, as in `data.pipeline`.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from jaxtyping import UInt8

from selftrain_jax.data.pipeline import (
    MAX_STALL_SECS,
    Augment,
    Reader,
    batches_of,
    example_index,
    map_places,
    places_from,
    seed_of,
)
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.types import Batch, Batches, Example, MaskTargets

MaskedImage = tuple[int, UInt8[np.ndarray, "H W 3"], UInt8[np.ndarray, "H W"]]


def make_mask_batches(
    source: Source,
    *,
    augment: Augment,
    batch_size: int,
    seed: int,
    max_bad_images: int = 0,
    max_stall_secs: float = MAX_STALL_SECS,
    is_pseudo: bool = False,
) -> Batches:
    """Return the function that streams batches of `source`, with `MaskTargets`, from a given step on.

    An image is bad, and its neighbour takes its place, when it does not decode or its mask is refused by the
    source. The boxes that a source may have are left out, so operations inside boxes do nothing.

    Raises:
      InputError: the source is empty; from the stream: too many bad images, an image without mask, or
        with one of another size.
    """
    reader = Reader(_masks_alone(source), max_bad_images=max_bad_images)

    def read(place: int) -> MaskedImage:
        index, example = reader(example_index(place, len(source), seed))
        _check(example, source.name)
        return index, example["image"], example["mask"]

    def stream(start_step: int) -> Iterator[tuple[Batch, list[str]]]:
        failures: list[InputError] = []
        dataset = _examples(read, augment, seed, places_from(start_step, batch_size), failures)
        for arrays in batches_of(dataset, batch_size, failures, reader, max_stall_secs):
            yield _to_batch(arrays, is_pseudo), [source.image_ids[index] for index in arrays["index"]]

    return stream


def _masks_alone(source: Source) -> Source:
    """Forget all labels but the mask."""

    def read_labels(index: int) -> Example:
        labels = source.read_labels(index)
        return {key: value for key, value in labels.items() if key in ("image_id", "mask")}  # type: ignore

    return dataclasses.replace(source, read_labels=read_labels)


def _check(example: Example, name: str) -> None:
    where = f"image {example['image_id']} of {name}"
    if "mask" not in example:
        raise InputError(f"{where} has no mask; segmentation needs a data set with a class for every pixel")
    image, mask = example["image"], example["mask"]
    if mask.shape != image.shape[:2]:
        raise InputError(
            f"the mask of {where} is {_size_text(mask)}, the image {_size_text(image)} (width x height); "
            "expected one size. Mend the mask or leave the image out."
        )


def _size_text(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]} px"


def _examples(
    read: Callable[[int], MaskedImage],
    augment: Augment,
    seed: int,
    places: tf.data.Dataset,
    failures: list[InputError],
) -> tf.data.Dataset:
    """Return the stream of the augmented examples at some places."""

    def read_place(place: np.int64) -> tuple[Any, ...]:
        try:
            index, image, mask = read(int(place))
        except InputError as error:
            failures.append(error)
            raise
        return np.int64(index), image, mask

    @tf.autograph.experimental.do_not_convert
    def to_tensors(place: tf.Tensor) -> dict[str, tf.Tensor]:
        types = (tf.int64, tf.uint8, tf.uint8)
        index, image, mask = tf.numpy_function(read_place, [place], types, stateful=False)
        tensors = {
            "image": tf.ensure_shape(image, [None, None, 3]),
            "mask": tf.ensure_shape(mask, [None, None]),
        }
        augmented = augment(tensors, seed_of(place, seed))
        return {
            "image": augmented["image"],
            "mask": augmented["mask"],
            "index": tf.ensure_shape(index, []),
        }

    return map_places(to_tensors, places)


def _to_batch(arrays: dict[str, Any], is_pseudo: bool) -> Batch:
    flags: Any = np.full(len(arrays["image"]), is_pseudo)
    return Batch(arrays["image"], MaskTargets(arrays["mask"]), flags)
