"""Batches of classified images: what is where, and what happens to images that do not decode."""

import numpy as np
import pytest
import tensorflow as tf

from selftrain_jax.augment.crop import augment_crop
from selftrain_jax.data.pipeline import make_batches, take_steps
from selftrain_jax.data.sampling import example_index
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.tasks.classification.targets import CLASS_TARGETS, read_in_order
from selftrain_jax.types import Category

pytestmark = pytest.mark.tf


def source_of(num_images: int = 7, bad: tuple[int, ...] = ()) -> Source:
    """Images of the class `index`, noise of their own; the ones in `bad` do not decode."""

    def read_image(index: int) -> np.ndarray:
        if index in bad:
            raise InputError(f"image {index}.jpg is damaged")
        return np.random.default_rng(index).integers(0, 256, (20, 24, 3), np.uint8)

    ids = tuple(f"{index}.jpg" for index in range(num_images))
    categories = tuple(Category(index, str(index)) for index in range(num_images))
    return Source(
        "toy",
        categories,
        ids,
        lambda index: {"image_id": ids[index], "image_class": index},
        lambda index: b"",
        read_image,
    )


def batches_of(source: Source, *, seed: int = 0, **settings):
    augment = augment_crop("randaugment", output_size_px=8)
    return make_batches(source, CLASS_TARGETS, augment=augment, batch_size=3, seed=seed, **settings)


def prepared(image: tf.Tensor) -> tf.Tensor:
    return tf.image.resize(image, [4, 4], tf.image.ResizeMethod.NEAREST_NEIGHBOR)


def test_stream_started_later_equals_the_rest_of_the_stream() -> None:
    batches = batches_of(source_of())
    whole, rest = take_steps(batches, 0, 4), take_steps(batches, 2, 2)
    for (batch, ids), (later, later_ids) in zip(whole[2:], rest, strict=True):
        assert ids == later_ids
        np.testing.assert_array_equal(batch.targets.classes, later.targets.classes)
        np.testing.assert_array_equal(batch.images, later.images)


def test_images_are_where_the_detection_pipeline_would_put_them_with_their_class() -> None:
    batch, ids = take_steps(batches_of(source_of(), seed=5), 2, 1)[0]
    expected = [example_index(position, 7, 5) for position in (6, 7, 8)]
    assert batch.targets.classes.tolist() == expected
    assert ids == [f"{index}.jpg" for index in expected]
    assert batch.images.shape == (3, 8, 8, 3)
    assert not batch.is_pseudo.any()
    assert batch.auxiliary is None


def test_another_seed_gives_other_augmentations() -> None:
    first, second = (take_steps(batches_of(source_of(1), seed=seed), 0, 1)[0][0].images for seed in (0, 1))
    assert np.any(first != second)


def test_bad_image_is_replaced_and_one_too_many_names_the_files() -> None:
    batches = batches_of(source_of(bad=(2,)), max_bad_images=1)
    classes = np.concatenate([batch.targets.classes for batch, _ in take_steps(batches, 0, 5)])
    assert 2 not in classes
    with pytest.raises(InputError, match=r"1 images of toy cannot be read, allowed are 0 .*2.jpg is damaged"):
        take_steps(batches_of(source_of(bad=(2,))), 0, 5)


def test_evaluation_sees_every_image_once_and_marks_the_padding() -> None:
    found = list(read_in_order(source_of(), prepare=prepared, batch_size=3))
    assert [batch.targets.classes.tolist() for batch in found] == [[0, 1, 2], [3, 4, 5], [6, -1, -1]]
    np.testing.assert_array_equal(found[1].images[1], prepared(source_of().read_image(4)))
    np.testing.assert_array_equal(found[1].covered_px, [[4, 4]] * 3)


def test_evaluation_leaves_out_what_does_not_decode_up_to_the_limit() -> None:
    source = source_of(bad=(1, 4))
    found = list(read_in_order(source, prepare=prepared, batch_size=7, max_bad_images=2))
    assert found[0].targets.classes.tolist() == [0, -1, 2, 3, -1, 5, 6]
    with pytest.raises(InputError, match=r"2 images of toy do not decode, allowed are 1 .*max_bad_images"):
        list(read_in_order(source, prepare=prepared, batch_size=7, max_bad_images=1))


def test_empty_source_is_an_error() -> None:
    with pytest.raises(InputError, match="has no example"):
        batches_of(source_of(0))
