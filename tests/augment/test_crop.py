"""Random and centred windows, measured on images whose pixels know where they come from."""

import numpy as np
import pytest
import tensorflow as tf

from selftrain_jax.augment.crop import augment_crop, centre_crop, centre_window, cut, random_window
from selftrain_jax.errors import InputError

pytestmark = pytest.mark.tf


def windows(height: int, width: int, num: int = 300, min_area_frac: float = 0.08) -> np.ndarray:
    size = tf.constant([height, width])
    draw = tf.function(lambda seed: random_window(size, seed, min_area_frac))
    return np.array([draw(tf.constant([3, number])).numpy() for number in range(num)])


def test_windows_keep_area_aspect_ratio_and_border() -> None:
    found = windows(100, 150)
    top, left, height, width = found.T
    area_frac, ratio = height * width / (100 * 150), width / height
    assert (found[:, :2] >= 0).all()
    assert (top + height <= 100).all()
    assert (left + width <= 150).all()
    assert area_frac.min() == pytest.approx(0.08, abs=0.01)
    assert 0.7 < area_frac.max() <= 1
    assert (ratio > 0.72).all()
    assert (ratio < 1.39).all()
    assert np.median(ratio) == pytest.approx(1, abs=0.05)


def test_windows_lie_everywhere() -> None:
    top, left, height, width = windows(64, 64).T
    position = (top + height / 2) / 64, (left + width / 2) / 64
    for axis in position:
        assert np.mean(axis) == pytest.approx(0.5, abs=0.03)
        assert axis.min() < 0.25
        assert axis.max() > 0.75
    assert (top + height == 64).any()
    assert (top == 0).any()


def test_image_too_narrow_for_any_window_gives_its_centred_square() -> None:
    np.testing.assert_array_equal(windows(10, 200, num=3, min_area_frac=0.9), [[0, 95, 10, 10]] * 3)


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [((4, 8), 4, [0, 2, 4, 4]), ((5, 8), 4, [1, 2, 4, 4]), ((7, 7), 7, [0, 0, 7, 7])],
)
def test_centred_window_by_hand(size, side, expected) -> None:
    np.testing.assert_array_equal(centre_window(tf.constant(size), tf.constant(side)), expected)


def test_centre_crop_of_224_keeps_224_of_256_pixels() -> None:
    """A short side of 256 is cut to 224 without resizing: 224 / (224 + 32) of it."""
    image = np.random.default_rng(0).integers(0, 256, (300, 256, 3), np.uint8)
    found = centre_crop(tf.constant(image), output_size_px=224)
    np.testing.assert_array_equal(found, image[38:262, 16:240])


def test_cut_resizes_the_window_alone() -> None:
    image = np.zeros((20, 20, 3), np.uint8)
    image[5:15, 5:15] = 200
    np.testing.assert_array_equal(
        cut(tf.constant(image), tf.constant([5, 5, 10, 10]), 4), np.full((4, 4, 3), 200)
    )


def test_half_of_the_images_are_mirrored_and_none_without_flips() -> None:
    ramp = np.tile(np.arange(0, 240, 10, np.uint8)[None, :, None], (24, 1, 3))

    def rising(flip_frac: float) -> float:
        augment = tf.function(augment_crop(output_size_px=8, flip_frac=flip_frac, min_area_frac=0.5))
        images = [
            augment({"image": tf.constant(ramp)}, tf.constant([0, n]))["image"].numpy() for n in range(60)
        ]
        return float(np.mean([image[0, -1, 0] > image[0, 0, 0] for image in images]))

    assert rising(0.0) == 1
    assert rising(1.0) == 0
    assert 0.3 < rising(0.5) < 0.7


@pytest.mark.parametrize("policy", ["none", "randaugment"])
def test_training_crop_is_a_function_of_the_seed_and_keeps_other_keys(policy: str) -> None:
    image = tf.constant(np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8))
    augment = tf.function(augment_crop(policy, output_size_px=16))
    tensors = {"image": image, "class": tf.constant(7)}
    first, again, other = (augment(tensors, tf.constant([1, n])) for n in (0, 0, 1))
    assert first["image"].shape == (16, 16, 3)
    assert first["image"].dtype == tf.uint8
    assert int(first["class"]) == 7
    np.testing.assert_array_equal(first["image"], again["image"])
    assert np.any(first["image"] != other["image"])


def test_randaugment_changes_colours_that_crops_leave() -> None:
    grey = {"image": tf.fill([32, 32, 3], tf.constant(90, tf.uint8))}
    plain, strong = (
        tf.function(augment_crop(policy, output_size_px=8)) for policy in ("none", "randaugment")
    )
    seeds = [tf.constant([0, n]) for n in range(12)]
    assert len({float(plain(grey, seed)["image"][4, 4, 0]) for seed in seeds}) == 1
    assert len({float(strong(grey, seed)["image"][4, 4, 0]) for seed in seeds}) > 1


def test_unknown_policy_and_share_are_refused() -> None:
    with pytest.raises(InputError, match=r"'s1' is not one of none, randaugment"):
        augment_crop("s1", output_size_px=8)
    with pytest.raises(InputError, match="min_area_frac is 0"):
        augment_crop(output_size_px=8, min_area_frac=0.0)
