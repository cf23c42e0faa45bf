"""Masks under augmentation: a picture whose colours name the classes is augmented and read off again.

The colours are corners of a cube, so no mixture of two of them is a third: a pixel of exactly such a colour
shows one class alone, and the mask must say the same there, however the image was turned, cut and resized.
"""

import numpy as np
import pytest
import tensorflow as tf

from selftrain_jax.augment import geometry, resize
from selftrain_jax.augment.operations import BOX_ONLY_OPERATIONS, OPERATIONS, apply_operation
from selftrain_jax.augment.policies import POLICIES, augment_policy, augment_uint8, resize_for_inference
from selftrain_jax.augment.resize import resize_and_crop

pytestmark = pytest.mark.tf

PHOTOMETRIC = {
    *("AutoContrast", "Equalize", "Invert", "Posterize", "Solarize", "SolarizeAdd", "Color", "Contrast"),
    *("Brightness", "Sharpness", "Equalize_Only_BBoxes"),
}
ERASING = {"Cutout", "BBox_Cutout", "Cutout_Only_BBoxes"}
GEOMETRIC = {*OPERATIONS, *BOX_ONLY_OPERATIONS} - PHOTOMETRIC - ERASING

CLASSES = np.array([0, 1, 7, 20, 89, 90, 254, 255], np.uint8)  # 255: unknown in the human mask too
COLOURS = np.array([[r, g, b] for r in (16, 208) for g in (16, 208) for b in (16, 208)], np.uint8)
GREY = np.full(3, 128, np.uint8)


def paint_classes(height: int, width: int, seed: int = 0) -> dict[str, tf.Tensor]:
    """Paint discs and rectangles of every class, one over the other, and a mask that agrees."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    index = np.zeros((height, width), int)
    for number in range(1, 33):
        center_y, center_x = rng.uniform(0, height), rng.uniform(0, width)
        radius = rng.uniform(2, 0.2 * height)
        is_disc = np.hypot(y - center_y, x - center_x) < radius
        is_rectangle = (abs(y - center_y) < radius) & (abs(x - center_x) < 2 * radius)
        index[is_disc if number % 2 else is_rectangle] = number % 8
    return {"image": tf.constant(COLOURS[index]), "mask": tf.constant(CLASSES[index])}


def read_classes(image: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Tell which pixels have exactly a class's colour, and the classes of those."""
    distance = np.abs(image[..., None, :].astype(np.float64) - COLOURS).max(-1)
    return distance.min(-1) <= tolerance, CLASSES[distance.argmin(-1)]


def check_moved_alike(image: np.ndarray, mask: np.ndarray) -> None:
    """Every pixel is of a class's colour, with that class in the mask, or grey from outside, with 255."""
    is_class, classes = read_classes(image, 0)
    is_outside = (image == GREY).all(-1)
    assert np.all(is_class ^ is_outside)
    np.testing.assert_array_equal(mask, np.where(is_class, classes, 255))


@pytest.fixture
def geometric_alone(monkeypatch):
    """Let every operation that moves nothing do nothing; what is drawn elsewhere stays as it was."""
    for operations in (OPERATIONS, BOX_ONLY_OPERATIONS):
        for name in operations.keys() - GEOMETRIC:
            monkeypatch.setitem(operations, name, lambda tensors, level, scale, seed: tensors)


@pytest.fixture
def unrounded(monkeypatch):
    """Leave resized images as they are: a mixture of two colours may be rounded to one of them."""
    monkeypatch.setattr(resize, "round_pixels", lambda pixels: pixels)


@pytest.mark.parametrize("name", sorted(GEOMETRIC))
@pytest.mark.parametrize("level", [2, 10, 15])
def test_geometric_operations_move_image_and_mask_alike_in_every_pixel(name, level):
    tensors = paint_classes(61, 83) | {
        "boxes": tf.constant([[5.0, 9.0, 40.0, 50.0], [20.0, 3.0, 55.0, 80.0]])
    }
    for seed in range(4):
        moved = apply_operation(
            tensors, name, level=level, probability=3.0, scale=83 / 640, seed=tf.constant([seed, 0])
        )
        assert np.any(moved["image"] != tensors["image"])
        check_moved_alike(moved["image"].numpy(), moved["mask"].numpy())


@pytest.mark.parametrize("name", sorted(PHOTOMETRIC | ERASING))
def test_photometric_operations_and_cutout_change_the_image_and_leave_the_mask(name):
    rng = np.random.default_rng(0)
    tensors = {
        "image": tf.constant(rng.integers(20, 240, (40, 50, 3), np.uint8)),
        "mask": tf.constant(rng.integers(0, 256, (40, 50), np.uint8)),
        "boxes": tf.constant([[2.0, 3.0, 36.0, 44.0]]),
    }
    for level in (2, 9):
        changed = apply_operation(
            tensors, name, level=level, probability=3.0, scale=0.1, seed=tf.constant([5, 6])
        )
        np.testing.assert_array_equal(changed["mask"], tensors["mask"])
        assert np.any(changed["image"] != tensors["image"])


def test_an_object_under_cutout_keeps_its_class():
    tensors = {"image": tf.zeros([40, 40, 3], tf.uint8), "mask": tf.fill([40, 40], tf.constant(7, tf.uint8))}
    erased = apply_operation(tensors, "Cutout", level=2, seed=tf.constant([0, 1]))  # a square of 40 px
    is_grey = (erased["image"].numpy() == 128).all(-1)
    assert is_grey.sum() > 200
    assert np.all(erased["mask"].numpy()[is_grey] == 7)


@pytest.mark.parametrize("name", ["s2", "s3", "s4"])
def test_before_the_resize_every_policy_moves_image_and_mask_alike(name, geometric_alone, over_seeds):
    tensors = paint_classes(45, 60)
    augment = augment_uint8(name, num_layers=2, reference_size_px=640)
    moved = over_seeds(lambda seed: augment(tensors, seed), 60)
    check_moved_alike(moved["image"], moved["mask"])
    assert np.any(moved["mask"] != tensors["mask"].numpy())


@pytest.mark.parametrize("name", POLICIES)
def test_after_every_policy_the_mask_names_what_the_image_shows(
    name, geometric_alone, unrounded, over_seeds, normalized
):
    tensors = paint_classes(75, 100)
    augment = augment_policy(name, output_size_px=64, reference_size_px=640)
    placed = over_seeds(lambda seed: augment(tensors, seed), 150)
    is_padding = (normalized(placed) == 0).all(-1)
    is_class, classes = read_classes(placed["image"], 1e-3)
    is_class &= ~is_padding
    assert is_class.sum() > 0.5 * (~is_padding).sum()  # the others mix two colours, or show grey
    np.testing.assert_array_equal(placed["mask"][is_class], classes[is_class])
    assert np.all(placed["mask"][is_padding] == 255)
    assert is_padding.any()


@pytest.mark.parametrize("name", ["s2", "s3", "s4"])
def test_photometric_operations_leave_every_policys_masks_as_they_are(name, over_seeds, monkeypatch):
    tensors = paint_classes(45, 60)
    augment = augment_policy(name, output_size_px=48, reference_size_px=640)
    with_all = over_seeds(lambda seed: augment(tensors, seed), 60)
    for operation in PHOTOMETRIC | ERASING:
        operations = BOX_ONLY_OPERATIONS if operation in BOX_ONLY_OPERATIONS else OPERATIONS
        monkeypatch.setitem(operations, operation, lambda tensors, level, scale, seed: tensors)
    moved_alone = over_seeds(lambda seed: augment(tensors, seed), 60)
    np.testing.assert_array_equal(with_all["mask"], moved_alone["mask"])
    assert np.any(with_all["image"] != moved_alone["image"])


@pytest.mark.parametrize("name", POLICIES)
def test_no_class_appears_that_was_not_there(name, over_seeds):
    mask = np.random.default_rng(0).choice(np.array([3, 60, 200, 254], np.uint8), (50, 70))
    tensors = {"image": tf.zeros([50, 70, 3], tf.uint8), "mask": tf.constant(mask)}
    augment = augment_policy(name, output_size_px=64, reference_size_px=640)
    masks = over_seeds(lambda seed: augment(tensors, seed)["mask"], 40)
    assert set(np.unique(masks)) == {3, 60, 200, 254, 255}


def resize_by_loop(mask: np.ndarray, scale: np.ndarray, offset: np.ndarray, size_px: int) -> np.ndarray:
    """Resize, cut and pad a mask pixel by pixel, all by the formula of the released code."""
    result = np.full((size_px, size_px), 255, np.uint8)
    scaled = np.round(scale * mask.shape)
    step = np.float32(mask.shape) / np.float32(scaled)
    for y in range(size_px):
        for x in range(size_px):
            place = np.array([y, x]) + offset
            if np.all(place < scaled):
                result[y, x] = mask[tuple(np.floor(np.float32(place) * step).astype(int))]
    return result


@pytest.mark.parametrize("is_flipped", [False, True])
def test_flip_jitter_and_crop_of_a_mask_equal_a_loop_over_its_pixels(is_flipped, over_seeds):
    mask = np.random.default_rng(1).integers(0, 21, (37, 50), np.uint8)
    tensors = {"image": tf.zeros([37, 50, 3], tf.uint8), "mask": tf.constant(mask)}
    augment = augment_policy("s4", output_size_px=40, num_layers=0, flip_frac=float(is_flipped))
    placed = over_seeds(lambda seed: augment(tensors, seed), 12)
    shown = mask[:, ::-1] if is_flipped else mask
    for found, scale, offset in zip(placed["mask"], placed["scale"], placed["offset"], strict=True):
        np.testing.assert_array_equal(found, resize_by_loop(shown, scale, offset, 40))
    assert placed["scale"].min() < 0.7 < 1.0 < placed["scale"].max()


@pytest.mark.parametrize("size", [(375, 500), (333, 500), (360, 480)])
def test_a_resized_mask_is_never_a_pixel_smaller_than_its_image(size, over_seeds):
    tensors = {"image": tf.ones([*size, 3], tf.uint8), "mask": tf.zeros(size, tf.uint8)}

    def is_agreed(seed):
        jitter = tf.random.stateless_uniform([], seed, 0.5, 1.0)
        placed = resize_and_crop(tensors, output_size_px=96, jitter=jitter, crop_yx_frac=tf.zeros([2]))
        return tf.reduce_all((placed["mask"] == 255) == tf.reduce_all(placed["image"] == 0, -1))

    assert over_seeds(is_agreed, 200).all()


def test_a_disc_turns_about_the_middle_and_keeps_its_area():
    y, x = np.mgrid[:101, :121]
    mask = np.where(np.hypot(y - 30, x - 85) < 12, 7, 0).astype(np.uint8)
    turned = geometry.rotate({"image": tf.zeros([101, 121, 3], tf.uint8), "mask": tf.constant(mask)}, 30.0)
    found = np.argwhere(turned["mask"] == 7)
    # (-20, 25) from the middle (50, 60), turned by 30 degrees as the content of an image with y down.
    cos, sin = np.cos(np.pi / 6), np.sin(np.pi / 6)
    expected = [50 + cos * -20 - sin * 25, 60 + sin * -20 + cos * 25]
    np.testing.assert_allclose(found.mean(0), expected, atol=0.1)
    assert len(found) == pytest.approx((mask == 7).sum(), rel=0.03)
    np.testing.assert_array_equal(turned["mask"].numpy()[[0, 0, -1, -1], [0, -1, 0, -1]], 255)


def test_translation_leaves_255_where_it_came_from():
    mask = np.arange(12, dtype=np.uint8).reshape(3, 4)
    moved = geometry.translate_x({"image": tf.zeros([3, 4, 3], tf.uint8), "mask": tf.constant(mask)}, 2.0)
    np.testing.assert_array_equal(moved["mask"], [[2, 3, 255, 255], [6, 7, 255, 255], [10, 11, 255, 255]])


def test_resize_for_inference_names_what_the_image_shows(unrounded):
    placed = resize_for_inference(paint_classes(75, 100), output_size_px=160)
    is_class, classes = read_classes(placed["image"].numpy()[:120], 1e-3)
    np.testing.assert_array_equal(placed["mask"].numpy()[:120][is_class], classes[is_class])
    assert np.all(placed["mask"][120:] == 255)
