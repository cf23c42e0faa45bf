import numpy as np
import pytest
import tensorflow as tf

from selftrain_jax.augment import resize

pytestmark = pytest.mark.tf


def fit(tensors, size_px, jitter=1.0, crop=(0.0, 0.0)):
    return resize.resize_and_crop(
        tensors, output_size_px=size_px, jitter=jitter, crop_yx_frac=tf.constant(crop)
    )


def noise(height, width, channels=3):
    return np.random.default_rng(0).integers(0, 256, [height, width, channels], dtype=np.uint8)


@pytest.mark.parametrize(("key", "size_px"), [("resize_no_jitter", 10), ("resize_up", 20)])
def test_equals_the_official_resize(key, size_px, golden, golden_tensors, in_dataset):
    expected = np.array(golden[key]["image"])
    if key == "resize_up":  # recorded before normalisation; 12 x 16 becomes 15 x 20
        expected = resize.normalize(tf.constant(expected, tf.float32)).numpy()
        expected[15:] = 0
    eager = fit(golden_tensors, size_px)
    (mapped,) = in_dataset(lambda x: fit(x, size_px), golden_tensors)
    for result in (eager, mapped):
        np.testing.assert_allclose(result["image"], expected[:size_px, :size_px], atol=2e-6)
        np.testing.assert_allclose(result["scale"], golden[key]["info"][2], rtol=1e-6)
        np.testing.assert_array_equal(result["offset"], golden[key]["info"][3])
    assert not np.any(expected[size_px:])
    assert not np.any(expected[:, size_px:])


def test_equals_the_official_mask_resize(golden, golden_tensors):
    mask = tf.constant(np.array(golden["mask_in"], np.uint8))
    result = fit(golden_tensors | {"mask": mask}, 10)["mask"]
    expected = np.array(golden["mask_resize_10"])
    np.testing.assert_array_equal(result[:8], expected[:8])
    np.testing.assert_array_equal(result[8:], np.full([2, 10], 255))
    assert not np.any(expected[8:])


@pytest.mark.parametrize(
    ("num", "expected"),
    [(2, [0, 4]), (3, [0, 8 / 3, 16 / 3]), (16, [*np.arange(0, 7.5, 0.5), 7])],
)
def test_legacy_bilinear_of_0_to_7_has_no_half_pixel_centres(num, expected):
    ramp = tf.tile(tf.range(8, dtype=tf.int32)[None, :, None], [4, 1, 3])
    image = tf.cast(ramp, tf.uint8)
    sideways = resize.legacy_bilinear_window(image, tf.constant([4, num]), tf.constant([0, 0]), 99)
    downwards = resize.legacy_bilinear_window(
        tf.transpose(image, [1, 0, 2]), tf.constant([num, 4]), tf.constant([0, 0]), 99
    )
    np.testing.assert_allclose(sideways[0, :, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(downwards[:, 0, 0], expected, rtol=1e-6)


def test_legacy_nearest_takes_the_floor():
    mask = tf.tile(tf.range(8)[None], [8, 1])
    result = resize.legacy_nearest_window(
        tf.cast(mask, tf.uint8), tf.constant([3, 3]), tf.constant([0, 0]), 9
    )
    np.testing.assert_array_equal(result, [[0, 2, 5]] * 3)


@pytest.mark.parametrize(
    ("size", "scaled", "offset"),
    [((61, 83), (150, 201), (37, 90)), ((61, 83), (47, 64), (0, 14)), ((640, 480), (1021, 766), (521, 0))],
)
def test_a_window_equals_the_whole_resize_cropped_bit_by_bit(size, scaled, offset):
    image = noise(*size)
    window = resize.legacy_bilinear_window(tf.constant(image), tf.constant(scaled), tf.constant(offset), 50)
    whole = tf.raw_ops.ResizeBilinear(images=image[None], size=scaled)[0]
    np.testing.assert_array_equal(window, whole[offset[0] : offset[0] + 50, offset[1] : offset[1] + 50])
    mask = resize.legacy_nearest_window(
        tf.constant(image[..., 0]), tf.constant(scaled), tf.constant(offset), 50
    )
    whole = tf.raw_ops.ResizeNearestNeighbor(images=image[None, ..., :1], size=scaled)[0, ..., 0]
    np.testing.assert_array_equal(mask, whole[offset[0] : offset[0] + 50, offset[1] : offset[1] + 50])


def test_normalising_after_the_resize_equals_normalising_before():
    image = noise(33, 47)
    before = (image / np.float32(255) - np.float32(resize.MEAN_RGB)) / np.float32(resize.STDDEV_RGB)
    expected = tf.raw_ops.ResizeBilinear(images=before[None].astype(np.float32), size=[66, 94])[0, :60, :60]
    jittered = fit({"image": tf.constant(image)}, 60, jitter=94 / 60)
    np.testing.assert_allclose(jittered["image"], expected, atol=2e-6)


def test_normalised_mean_colour_is_zero_and_one_deviation_is_one():
    mean, stddev = np.array(resize.MEAN_RGB) * 255, np.array(resize.STDDEV_RGB) * 255
    values = resize.normalize(tf.constant(np.stack([mean, mean + stddev])[None], tf.float32))
    np.testing.assert_allclose(values, [[[0, 0, 0], [1, 1, 1]]], atol=1e-6)


def test_scale_and_offset_follow_the_formula():
    placed = fit({"image": tf.zeros([480, 640, 3], tf.uint8)}, 512, jitter=2.0, crop=(0.5, 0.25))
    np.testing.assert_allclose(placed["scale"], [1.6, 1.6])  # 1024 / 640; scaled (768, 1024)
    np.testing.assert_array_equal(placed["offset"], [128, 128])  # 0.5 * 256, 0.25 * 512
    odd = fit({"image": tf.zeros([333, 500, 3], tf.uint8)}, 100, jitter=0.5)
    np.testing.assert_allclose(odd["scale"], [33 / 333, 50 / 500])  # round(33.3) = 33
    assert odd["image"].shape == (100, 100, 3)
    assert not np.any(odd["image"][33:])
    assert np.all(odd["image"][:33, :50] != 0)  # black, normalised


@pytest.mark.parametrize("jitter", [0.5, 0.8, 1.0, 1.3, 2.0])
@pytest.mark.parametrize("crop", [(0.0, 0.0), (0.3, 0.4), (0.5, 0.5)])
def test_box_and_mask_stay_on_what_was_painted_within_a_pixel(jitter, crop, paint, measure):
    placed = fit(paint(96, 120, (42, 51, 70, 81)), 100, jitter, crop)
    is_red = np.asarray(placed["image"])[..., 0] > 0.13  # above the value halfway between black and red
    np.testing.assert_allclose(placed["boxes"][0], measure(is_red), atol=1.0 * max(1.0, jitter))
    np.testing.assert_allclose(placed["boxes"][0], measure(placed["mask"] == 7), atol=1.0)


def test_boxes_outside_the_window_are_dropped_with_all_that_belongs_to_them():
    tensors = {
        "image": tf.zeros([100, 100, 3], tf.uint8),
        "boxes": tf.constant(
            [[0, 0, 10, 10], [40, 40, 60, 70], [30, 30, 30, 50], [90, 90, 100, 100]], tf.float32
        ),
        "classes": tf.constant([1, 2, 3, 4]),
        "scores": tf.constant([0.1, 0.2, 0.3, 0.4]),
        "is_ignore": tf.constant([False, True, False, False]),
        "image_id": tf.constant("seven"),
    }
    placed = fit(tensors, 100, jitter=2.0, crop=(0.5, 0.5))  # the window shows original 25..75
    np.testing.assert_array_equal(placed["boxes"], [[30, 30, 70, 90]])
    np.testing.assert_array_equal(placed["classes"], [2])
    np.testing.assert_allclose(placed["scores"], [0.2])
    np.testing.assert_array_equal(placed["is_ignore"], [True])
    assert placed["image_id"] == b"seven"


def test_boxes_are_clipped_to_the_last_pixel():
    placed = fit(
        {"image": tf.zeros([50, 50, 3], tf.uint8), "boxes": tf.constant([[0.0, 0.0, 50.0, 50.0]])}, 100
    )
    np.testing.assert_array_equal(placed["boxes"], [[0, 0, 99, 99]])


def test_an_image_one_pixel_high_keeps_a_row():
    tensors = {"image": tf.zeros([1, 3000, 3], tf.uint8), "mask": tf.zeros([1, 3000], tf.uint8)}
    placed = fit(tensors, 64)
    assert np.all(placed["image"][0] != 0)
    np.testing.assert_array_equal(placed["mask"][0], np.zeros(64))
    assert np.all(placed["mask"][1:] == 255)
