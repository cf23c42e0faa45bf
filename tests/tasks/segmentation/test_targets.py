"""Batches of masks: every pixel with its own class, resume at any step, and what happens to bad masks."""

import numpy as np
import pytest

from selftrain_jax.augment.policies import POLICIES, augment_policy
from selftrain_jax.data.pipeline import batch_examples, make_batches, make_examples, take_steps
from selftrain_jax.data.sampling import example_index
from selftrain_jax.data.source import Source, without_labels
from selftrain_jax.demo.builtin import read_builtin
from selftrain_jax.errors import InputError
from selftrain_jax.models.input_normalization import fitted_images, normalize
from selftrain_jax.tasks.detection.targets import box_targets
from selftrain_jax.tasks.segmentation.targets import mask_targets

pytestmark = pytest.mark.tf


def source_of(num_images: int = 7, *, bad_masks=(), bad_images=(), ignored=(), mask_size=(20, 30)) -> Source:
    """Image and mask `index` hold 10 + index in every pixel; masks of `ignored` hold 255."""

    def read_image(index: int) -> np.ndarray:
        if index in bad_images:
            raise InputError(f"image {index}.jpg is damaged")
        return np.full((20, 30, 3), 10 + index, np.uint8)

    def read_labels(index: int) -> dict:
        if index in bad_masks:
            raise InputError(f"mask {index}.png has the class 99")
        mask = np.full(mask_size, 255 if index in ignored else 10 + index, np.uint8)
        return {"image_id": f"{index}.jpg", "mask": mask}

    ids = tuple(f"{index}.jpg" for index in range(num_images))
    return Source("toy", (), ids, read_labels, lambda index: b"", read_image)


def batches_of(source: Source, *, policy: str = "s1", seed: int = 0, **settings):
    return batch_examples([examples_of(source, policy=policy, seed=seed, **settings)], [0] * 3)


def examples_of(source: Source, *, policy: str = "s1", seed: int = 0, **settings):
    augment = augment_policy(policy, output_size_px=32, reference_size_px=640)
    return make_examples(source, mask_targets(), augment=augment, batch_size=3, seed=seed, **settings)


def classes_of(batch) -> list[int]:
    """Return the only class that each mask shows beside 255."""
    shown = [set(np.unique(mask)) - {255} for mask in batch.targets.masks]
    assert all(len(classes) == 1 for classes in shown)
    return [int(next(iter(classes))) for classes in shown]


@pytest.mark.parametrize("policy", POLICIES)
def test_every_image_comes_with_its_own_mask_padded_with_255(policy) -> None:
    for batch, ids in take_steps(batches_of(source_of(), policy=policy), 0, 5):
        assert batch.images.shape == (3, 32, 32, 3)
        assert batch.targets.masks.shape == (3, 32, 32)
        assert batch.images.dtype == np.uint8
        assert batch.targets.masks.dtype == np.uint8
        assert [f"{index - 10}.jpg" for index in classes_of(batch)] == ids
        is_padding = (normalize(fitted_images(batch)) == 0).all(-1)
        assert is_padding.any()  # 20 x 30 leaves a third of the square empty
        assert (batch.targets.masks[is_padding] == 255).all()


def test_positions_are_those_of_the_detection_pipeline() -> None:
    _, ids = take_steps(batches_of(source_of(), seed=5), 2, 1)[0]
    assert ids == [f"{example_index(position, 7, 5)}.jpg" for position in (6, 7, 8)]


def test_images_equal_those_of_the_detection_pipeline_whatever_the_number_of_boxes() -> None:
    source = read_builtin("train", num_images=6, image_size_px=64)
    augment = augment_policy("s4", output_size_px=64, reference_size_px=640)
    masks = take_steps(make_batches(source, mask_targets(), augment=augment, batch_size=3, seed=2), 0, 4)
    boxes = take_steps(make_batches(source, box_targets(16), augment=augment, batch_size=3, seed=2), 0, 4)
    for (with_masks, ids), (with_boxes, same_ids) in zip(masks, boxes, strict=True):
        assert ids == same_ids
        np.testing.assert_array_equal(with_masks.images, with_boxes.images)


@pytest.mark.parametrize("policy", ["s2", "s4"])
def test_stream_started_later_equals_the_rest_of_the_stream(policy) -> None:
    source = read_builtin("train", num_images=8, image_size_px=64)
    whole, rest = (take_steps(batches_of(source, policy=policy), start, 5 - start) for start in (0, 3))
    for (batch, ids), (later, later_ids) in zip(whole[3:], rest, strict=True):
        assert ids == later_ids
        np.testing.assert_array_equal(batch.images, later.images)
        np.testing.assert_array_equal(batch.targets.masks, later.targets.masks)


def test_another_seed_gives_other_masks() -> None:
    source = read_builtin("train", num_images=1, image_size_px=64)
    first, second = (take_steps(batches_of(source, seed=seed), 0, 1)[0][0] for seed in (0, 1))
    assert np.any(first.targets.masks != second.targets.masks)


def test_human_and_pseudo_halves_alternate_and_resume_together() -> None:
    human, pseudo = source_of(4), source_of(5, ignored=range(5))
    halves = [examples_of(human), examples_of(pseudo, seed=500, is_pseudo=True)]
    mixed = batch_examples(halves, [0, 1] * 3)
    whole, rest = take_steps(mixed, 0, 4), take_steps(mixed, 2, 2)
    batch, ids = whole[2]
    np.testing.assert_array_equal(batch.is_pseudo, [False, True] * 3)
    assert batch.targets.masks.shape == (6, 32, 32)
    assert (batch.targets.masks[1::2] == 255).all()
    assert not (batch.targets.masks[::2] == 255).all((1, 2)).any()
    for (later, later_ids), (first, first_ids) in zip(rest, whole[2:], strict=True):
        assert later_ids == first_ids
        np.testing.assert_array_equal(later.images, first.images)
        np.testing.assert_array_equal(later.targets.masks, first.targets.masks)
    assert len(ids) == 6


@pytest.mark.parametrize("fault", ["bad_masks", "bad_images"])
def test_what_is_bad_is_replaced_by_its_neighbour_up_to_the_limit(fault) -> None:
    batches = batches_of(source_of(**{fault: (2,)}), max_bad_images=1)
    seen = [class_id for batch, _ in take_steps(batches, 0, 7) for class_id in classes_of(batch)]
    assert set(seen) == {10, 11, 13, 14, 15, 16}
    assert seen.count(13) == 6  # its own three epochs and its neighbour's


def test_one_bad_mask_or_image_too_many_names_them_all() -> None:
    batches = batches_of(source_of(bad_masks=(1,), bad_images=(4,)), max_bad_images=1)
    with pytest.raises(InputError, match=r"2 images of toy cannot be read, allowed are 1 ") as error:
        take_steps(batches, 0, 3)
    assert "mask 1.png has the class 99" in str(error.value)
    assert "image 4.jpg is damaged" in str(error.value)


def test_a_mask_of_another_size_is_named() -> None:
    expected = r"image \d.jpg of toy is 30 x 19 px, the image 30 x 20 px \(width x height\)"
    with pytest.raises(InputError, match=expected):
        take_steps(batches_of(source_of(mask_size=(19, 30)), max_bad_images=9), 0, 1)


def test_a_source_without_masks_is_refused() -> None:
    with pytest.raises(InputError, match=r"^image \d.jpg of toy \(unlabelled\) has no mask; segmentation"):
        take_steps(batches_of(without_labels(source_of())), 0, 1)


def test_empty_source_is_an_error() -> None:
    with pytest.raises(InputError, match="has no example"):
        batches_of(source_of(0))
