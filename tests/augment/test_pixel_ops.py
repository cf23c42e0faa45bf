import numpy as np
import pytest
import tensorflow as tf

from selftrain_jax.augment import pixel_ops

pytestmark = pytest.mark.tf

GOLDEN_CALLS = {
    "autocontrast": pixel_ops.autocontrast,
    "equalize": pixel_ops.equalize,
    "solarize_128": lambda image: pixel_ops.solarize(image, 128),
    "solarize_256": lambda image: pixel_ops.solarize(image, 256),
    "solarize_add_110": lambda image: pixel_ops.solarize_add(image, 110),
    "color_1.18": lambda image: pixel_ops.color(image, 1.18),
    "color_1.9": lambda image: pixel_ops.color(image, 1.9),
    "color_0.5": lambda image: pixel_ops.color(image, 0.5),
    "contrast_1.9": lambda image: pixel_ops.contrast(image, 1.9),
    "brightness_1.9": lambda image: pixel_ops.brightness(image, 1.9),
    "brightness_0.4": lambda image: pixel_ops.brightness(image, 0.4),
    "sharpness_1.9": lambda image: pixel_ops.sharpness(image, 1.9),
    "sharpness_0.5": lambda image: pixel_ops.sharpness(image, 0.5),
    "posterize_4": lambda image: pixel_ops.posterize(image, 4),
}


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, [height, width, 3], dtype=np.uint8)


def test_every_golden_operation_is_called(golden):
    assert set(GOLDEN_CALLS) == set(golden["pixel_ops"])


@pytest.mark.parametrize("name", GOLDEN_CALLS)
def test_equals_the_official_operation_in_every_pixel(name, golden, golden_tensors):
    result = GOLDEN_CALLS[name](golden_tensors["image"])
    np.testing.assert_array_equal(result, golden["pixel_ops"][name])


def test_equals_the_official_operations_inside_tf_data(golden, golden_tensors, in_dataset):
    example = {"image": golden_tensors["image"]}
    (results,) = in_dataset(
        lambda x: {name: call(x["image"]) for name, call in GOLDEN_CALLS.items()}, example
    )
    for name, result in results.items():
        np.testing.assert_array_equal(result, golden["pixel_ops"][name], err_msg=name)


def test_color_brightness_and_sharpness_of_factor_one_change_nothing():
    image = noise(7, 9)
    for change in (pixel_ops.color, pixel_ops.brightness, pixel_ops.contrast, pixel_ops.sharpness):
        np.testing.assert_array_equal(change(tf.constant(image), 1.0), image)


def test_brightness_of_factor_zero_is_black_and_color_of_factor_zero_is_grey():
    image = tf.constant(noise(5, 6))
    assert not np.any(pixel_ops.brightness(image, 0.0))
    grey = pixel_ops.color(image, 0.0).numpy()
    np.testing.assert_array_equal(grey[..., 0], grey[..., 1])
    np.testing.assert_array_equal(grey[..., 0], grey[..., 2])


def test_contrast_of_a_large_image_blends_against_white():
    image = tf.fill([256, 256, 3], tf.constant(100, tf.uint8))  # 65,536 pixels / 256 = 256, clipped to 255
    np.testing.assert_array_equal(
        pixel_ops.contrast(image, 0.5), np.full([256, 256, 3], 177)
    )  # 255 - 0.5 * 155


def test_channels_of_one_value_survive_autocontrast_and_equalize():
    image = np.full([6, 5, 3], [3, 128, 250], np.uint8)
    np.testing.assert_array_equal(pixel_ops.autocontrast(tf.constant(image)), image)
    np.testing.assert_array_equal(pixel_ops.equalize(tf.constant(image)), image)


def test_equalize_equals_the_table_built_by_a_loop():
    image = noise(40, 50, seed=1) // 3 + np.array([0, 60, 170], np.uint8)
    expected = image.copy()
    for channel in range(3):
        counts = np.bincount(image[..., channel].ravel(), minlength=256)
        step = (counts.sum() - counts[counts > 0][-1]) // 255
        table, total = [], step // 2
        for count in counts:
            table.append(min(total // step, 255))
            total += count
        expected[..., channel] = np.array(table)[image[..., channel]]
    np.testing.assert_array_equal(pixel_ops.equalize(tf.constant(image)), expected)


def test_autocontrast_reaches_black_and_white():
    stretched = pixel_ops.autocontrast(tf.constant(noise(9, 9) // 4 + 50)).numpy()
    assert stretched.min() == 0
    assert stretched.max() >= 254  # the cast truncates


def test_sharpness_leaves_borders_and_images_without_inner_pixels():
    image = noise(6, 7)
    changed = pixel_ops.sharpness(tf.constant(image), 1.9).numpy()
    border = np.ones([6, 7], bool)
    border[1:-1, 1:-1] = False
    np.testing.assert_array_equal(changed[border], image[border])
    assert np.any(changed != image)
    np.testing.assert_array_equal(pixel_ops.sharpness(tf.constant(image[:2]), 1.9), image[:2])


def test_solarize_wraps_its_threshold_modulo_256():
    image = tf.constant(noise(4, 5))
    np.testing.assert_array_equal(pixel_ops.solarize(image, 256), pixel_ops.invert(image))
    np.testing.assert_array_equal(pixel_ops.solarize(image, 384), pixel_ops.solarize(image, 128))


def test_inverting_twice_is_the_identity():
    image = noise(4, 5)
    inverted = pixel_ops.invert(tf.constant(image))
    np.testing.assert_array_equal(inverted, 255 - image.astype(int))
    np.testing.assert_array_equal(pixel_ops.invert(inverted), image)


def test_posterize_keeps_the_highest_bits():
    values = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    np.testing.assert_array_equal(pixel_ops.posterize(tf.constant(values), 3), values // 32 * 32)


def test_erase_cuts_its_square_off_at_the_border():
    erased = pixel_ops.erase(
        tf.zeros([10, 12, 3], tf.uint8), tf.constant([1, 6]), tf.constant([3, 2])
    ).numpy()
    expected = np.zeros([10, 12], np.uint8)
    expected[0:4, 4:8] = 128  # rows 1-3..1+3, columns 6-2..6+2
    np.testing.assert_array_equal(erased, expected[..., None].repeat(3, 2))


def test_cutout_centres_fall_on_every_pixel(over_seeds):
    image = tf.zeros(
        [3, 4, 3], tf.uint8
    )  # half size 1 erases rows c-1 and c: the last one erased is the centre

    def draw(seed):
        return pixel_ops.cutout(image, 1, seed)[..., 0]

    erased = over_seeds(draw, 300) == 128
    centers = {tuple(np.argwhere(one).max(0)) for one in erased}
    assert centers == {(y, x) for y in range(3) for x in range(4)}
    assert not np.any(pixel_ops.cutout(image, 0, tf.constant([1, 2])))
