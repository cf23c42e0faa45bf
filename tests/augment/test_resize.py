import numpy as np
import pytest
import tensorflow as tf

from selftrain_jax.augment import resize
from selftrain_jax.models.input_normalization import MEAN_RGB, STDDEV_RGB

pytestmark = pytest.mark.tf
HALF_A_LEVEL = 0.5 / 255 / np.array(STDDEV_RGB)


def fit(tensors, size_px, jitter=1.0, crop=(0.0, 0.0)):
    return resize.resize_and_crop(
        tensors, output_size_px=size_px, jitter=jitter, crop_yx_frac=tf.constant(crop)
    )


def noise(height, width, channels=3):
    return np.random.default_rng(0).integers(0, 256, [height, width, channels], dtype=np.uint8)


def official(golden, key):
    """Return a golden image, normalised; only one was recorded so, the other, 12 x 16 to 15 x 20, before."""
    expected = np.array(golden[key]["image"])
    if key == "resize_up":
        expected = (expected / 255 - np.array(MEAN_RGB)) / np.array(STDDEV_RGB)
        expected[15:] = 0
    return expected


@pytest.mark.parametrize(("key", "size_px"), [("resize_no_jitter", 10), ("resize_up", 20)])
def test_equals_the_official_resize_but_for_the_rounding(
    key, size_px, golden, golden_tensors, in_dataset, normalized, monkeypatch
):
    monkeypatch.setattr(resize, "round_pixels", lambda pixels: pixels)
    expected = official(golden, key)
    eager = fit(golden_tensors, size_px)
    (mapped,) = in_dataset(lambda x: fit(x, size_px), golden_tensors)
    for result in (eager, mapped):
        np.testing.assert_allclose(normalized(result), expected[:size_px, :size_px], atol=2e-6)
        np.testing.assert_allclose(result["scale"], golden[key]["info"][2], rtol=1e-6)
        np.testing.assert_array_equal(result["offset"], golden[key]["info"][3])
    assert not np.any(expected[size_px:])
    assert not np.any(expected[:, size_px:])


@pytest.mark.parametrize(("key", "size_px"), [("resize_no_jitter", 10), ("resize_up", 20)])
def test_rounding_changes_the_networks_input_by_half_a_level_at_most(
    key, size_px, golden, golden_tensors, normalized
):
    placed = fit(golden_tensors, size_px)
    assert placed["image"].dtype == tf.uint8
    difference = np.abs(normalized(placed) - official(golden, key)[:size_px, :size_px])
    assert np.all(difference <= HALF_A_LEVEL + 2e-6)
    assert np.all(difference.max((0, 1)) > 0.9 * HALF_A_LEVEL)  # the bound is met: nothing is rounded twice
    height, width = placed["covered_px"]
    assert not np.any(normalized(placed)[height:])
    assert not np.any(normalized(placed)[:, width:])


def test_halves_are_rounded_to_even_and_the_brightest_stays():
    found = resize.round_pixels(tf.constant([[[0.0, 0.49, 0.5], [1.5, 2.5, 254.49], [254.5, 254.6, 255.0]]]))
    np.testing.assert_array_equal(found, [[[0, 0, 0], [2, 2, 254], [254, 255, 255]]])


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


def test_normalising_after_the_resize_is_within_half_a_level_of_normalising_before(normalized):
    image = noise(33, 47)
    before = (image / np.float32(255) - np.float32(MEAN_RGB)) / np.float32(STDDEV_RGB)
    expected = tf.raw_ops.ResizeBilinear(images=before[None].astype(np.float32), size=[66, 94])[0, :60, :60]
    jittered = fit({"image": tf.constant(image)}, 60, jitter=94 / 60)
    assert np.all(np.abs(normalized(jittered) - expected) <= HALF_A_LEVEL + 2e-6)


def test_scale_and_offset_follow_the_formula():
    placed = fit({"image": tf.ones([480, 640, 3], tf.uint8)}, 512, jitter=2.0, crop=(0.5, 0.25))
    np.testing.assert_allclose(placed["scale"], [1.6, 1.6])  # 1024 / 640; scaled (768, 1024)
    np.testing.assert_array_equal(placed["offset"], [128, 128])  # 0.5 * 256, 0.25 * 512
    np.testing.assert_array_equal(placed["covered_px"], [512, 512])
    odd = fit({"image": tf.ones([333, 500, 3], tf.uint8)}, 100, jitter=0.5)
    np.testing.assert_array_equal(odd["covered_px"], [33, 50])
    np.testing.assert_allclose(odd["scale"], [33 / 333, 50 / 500])  # round(33.3) = 33
    assert odd["image"].shape == (100, 100, 3)
    assert not np.any(odd["image"][33:])
    assert np.all(odd["image"][:33, :50] == 1)


@pytest.mark.parametrize("jitter", [0.5, 0.8, 1.0, 1.3, 2.0])
@pytest.mark.parametrize("crop", [(0.0, 0.0), (0.3, 0.4), (0.5, 0.5)])
def test_box_and_mask_stay_on_what_was_painted_within_a_pixel(jitter, crop, paint, measure):
    placed = fit(paint(96, 120, (42, 51, 70, 81)), 100, jitter, crop)
    is_red = np.asarray(placed["image"])[..., 0] > 127
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
    tensors = {"image": tf.ones([1, 3000, 3], tf.uint8), "mask": tf.zeros([1, 3000], tf.uint8)}
    placed = fit(tensors, 64)
    assert np.all(placed["image"][0] == 1)
    np.testing.assert_array_equal(placed["covered_px"], [1, 64])
    np.testing.assert_array_equal(placed["mask"][0], np.zeros(64))
    assert np.all(placed["mask"][1:] == 255)
