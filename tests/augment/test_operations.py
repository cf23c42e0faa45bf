import numpy as np
import pytest
import tensorflow as tf

from selftrain_jax.augment import geometry, pixel_ops
from selftrain_jax.augment.operations import (
    BOX_ONLY_OPERATIONS,
    OPERATIONS,
    apply_operation,
    pixel_scale,
)

pytestmark = pytest.mark.tf


@pytest.fixture(scope="module")
def tensors():
    image = np.random.default_rng(0).integers(0, 256, [40, 600, 3], dtype=np.uint8)
    return {"image": tf.constant(image), "boxes": tf.constant([[8.0, 200.0, 30.0, 420.0]])}


@pytest.mark.parametrize(
    ("name", "level", "argument", "change"),
    [
        ("Color", 6, 1.18, pixel_ops.color),
        ("Color", 10, 1.9, pixel_ops.color),
        ("Color", 15, 2.8, pixel_ops.color),
        ("Contrast", 2, 0.46, pixel_ops.contrast),
        ("Brightness", 8, 1.54, pixel_ops.brightness),
        ("Sharpness", 4, 0.82, pixel_ops.sharpness),
        ("Posterize", 8, 3, pixel_ops.posterize),
        ("Solarize", 8, 204, pixel_ops.solarize),
        ("Solarize", 15, 128, pixel_ops.solarize),
        ("SolarizeAdd", 10, 110, pixel_ops.solarize_add),
        ("SolarizeAdd", 15, 165, pixel_ops.solarize_add),
    ],
)
def test_level_gives_the_tables_argument(name, level, argument, change, tensors):
    changed = apply_operation(tensors, name, level=level, seed=tf.constant([0, 1]))
    np.testing.assert_array_equal(changed["image"], change(tensors["image"], argument))
    assert changed["boxes"] is tensors["boxes"]


def test_solarize_at_level_10_inverts_the_whole_image(tensors):
    changed = apply_operation(tensors, "Solarize", level=10, seed=tf.constant([0, 1]))
    np.testing.assert_array_equal(changed["image"], 255 - tensors["image"].numpy())


@pytest.mark.parametrize(
    ("name", "level", "amount", "move"),
    [
        ("TranslateX_BBox", 4, 100.0, geometry.translate_x),
        ("TranslateX_BBox", 15, 375.0, geometry.translate_x),
        ("TranslateY_BBox", 0.4, 10.0, geometry.translate_y),
        ("ShearX_BBox", 10, 0.3, geometry.shear_x),
        ("ShearY_BBox", 2, 0.06, geometry.shear_y),
        ("Rotate_BBox", 10, 30.0, geometry.rotate),
    ],
)
def test_geometric_operations_go_either_way(name, level, amount, move, tensors, over_seeds):
    forth, back = move(tensors, amount), move(tensors, -amount)
    results = over_seeds(lambda seed: apply_operation(tensors, name, level=level, seed=seed), 60)
    is_forth = (results["image"] == forth["image"].numpy()).all((1, 2, 3))
    is_back = (results["image"] == back["image"].numpy()).all((1, 2, 3))
    assert np.all(is_forth ^ is_back)
    assert 15 < is_forth.sum() < 45
    expected = np.where(is_forth[:, None, None], forth["boxes"], back["boxes"])
    np.testing.assert_allclose(results["boxes"], expected)


@pytest.mark.parametrize(("level", "shift_px"), [(2, 24), (6, 72)])
def test_translation_inside_boxes_is_24_and_72_px_at_levels_2_and_6(level, shift_px, tensors):
    changed = apply_operation(
        tensors, "TranslateX_Only_BBoxes", level=level, probability=3.0, seed=tf.constant([0, 1])
    )["image"].numpy()
    image = tensors["image"].numpy()
    crops = [
        geometry.translate_x({"image": tf.constant(image[8:31, 200:421])}, sign * shift_px)["image"].numpy()
        for sign in (1, -1)
    ]
    assert any(np.array_equal(changed[8:31, 200:421], crop) for crop in crops)
    changed[8:31, 200:421] = image[8:31, 200:421]
    np.testing.assert_array_equal(changed, image)


def test_box_only_operations_are_drawn_with_a_third_of_the_probability(tensors, over_seeds):
    def is_changed(seed):
        changed = apply_operation(tensors, "Equalize_Only_BBoxes", level=5, probability=0.6, seed=seed)
        return tf.reduce_any(changed["image"] != tensors["image"])

    np.testing.assert_allclose(over_seeds(is_changed, 400).mean(), 0.2, atol=0.06)


def test_probability_is_the_share_of_seeds(tensors, over_seeds):
    def is_changed(seed):
        changed = apply_operation(tensors, "Invert", level=0, probability=0.4, seed=seed)
        return tf.reduce_any(changed["image"] != tensors["image"])

    np.testing.assert_allclose(over_seeds(is_changed, 400).mean(), 0.4, atol=0.075)


@pytest.mark.parametrize(("level", "side_px"), [(8, 160), (10, 200), (0.29, 4)])
def test_cutout_sides_are_160_px_at_level_8(level, side_px, over_seeds):
    black = {"image": tf.zeros([9, 600, 3], tf.uint8)}
    erased = over_seeds(
        lambda seed: apply_operation(black, "Cutout", level=level, seed=seed)["image"][..., 0] == 128, 40
    )
    assert erased.any(1).sum(1).max() == side_px


@pytest.mark.parametrize("name", [*OPERATIONS, *BOX_ONLY_OPERATIONS])
def test_every_operation_keeps_shapes_and_needs_no_boxes(name, tensors):
    seed = tf.constant([5, 6])
    mask = tf.zeros([40, 600], tf.uint8)
    with_all = apply_operation(tensors | {"mask": mask}, name, level=5, probability=3.0, seed=seed)
    assert {key: value.shape for key, value in with_all.items()} == {
        "image": (40, 600, 3),
        "boxes": (1, 4),
        "mask": (40, 600),
    }
    assert set(apply_operation({"image": tensors["image"]}, name, level=5, seed=seed)) == {"image"}


def test_every_operation_in_a_graph_without_known_sizes_equals_eager(golden_tensors, in_dataset):
    def run_all(tensors):
        seed = tf.constant([5, 6])
        pixels = {key: tensors[key] for key in ("image", "boxes", "mask")}
        scale = pixel_scale(pixels["image"], 640)
        return {
            name: apply_operation(pixels, name, level=8, probability=2.0, scale=scale, seed=seed)
            for name in (*OPERATIONS, *BOX_ONLY_OPERATIONS)
        }

    (mapped,) = in_dataset(run_all, golden_tensors)
    for name, eager in run_all(golden_tensors).items():
        for key, value in eager.items():
            np.testing.assert_array_equal(mapped[name][key], value, err_msg=f"{name} {key}")


def test_reference_size_scales_pixel_constants_to_the_image(tensors):
    image = tensors["image"]  # longest side 600
    assert pixel_scale(image, None) == 1.0
    assert pixel_scale(image, 300) == 2.0
    small = {"image": image[:, :128]}
    moved = apply_operation(
        small, "TranslateX_BBox", level=10, scale=pixel_scale(small["image"], 640), seed=tf.constant([0, 1])
    )
    filled = (moved["image"].numpy() == 128).all((0, 2)).sum()
    assert filled == 50  # 250 px of 640 are 50 px of 128
