import numpy as np
import pytest
import tensorflow as tf

from selftrain_jax.augment import geometry

pytestmark = pytest.mark.tf

MOVES = {
    "rotate": geometry.rotate,
    "shear_x": geometry.shear_x,
    "shear_y": geometry.shear_y,
    "translate_x": geometry.translate_x,
    "translate_y": geometry.translate_y,
}
AMOUNTS = {
    "rotate": [30.0, -30.0, 7.5],
    "shear_x": [0.3, -0.3, 0.06],
    "shear_y": [0.3, -0.3, 0.06],
    "translate_x": [3.0, -4.0, 2.5],
    "translate_y": [3.0, -4.0, 2.5],
}
CASES = [(name, amount) for name, amounts in AMOUNTS.items() for amount in amounts]
SIZE = np.array([12, 16, 12, 16], np.float32)


def check_golden(result, expected):
    np.testing.assert_array_equal(result["image"], expected["image"])
    np.testing.assert_allclose(np.asarray(result["boxes"]) / SIZE, expected["boxes_frac"], atol=1e-6)


def test_every_golden_operation_is_called(golden):
    assert {f"{name}_{amount}" for name, amount in CASES} == set(golden["geometric_ops"])


@pytest.mark.parametrize(("name", "amount"), CASES)
def test_equals_the_official_operation_in_every_pixel_and_box(name, amount, golden, golden_tensors):
    check_golden(MOVES[name](golden_tensors, amount), golden["geometric_ops"][f"{name}_{amount}"])


def test_equals_the_official_operations_inside_tf_data(golden, golden_tensors, in_dataset):
    (results,) = in_dataset(lambda x: {f"{n}_{a}": MOVES[n](x, a) for n, a in CASES}, golden_tensors)
    for name, result in results.items():
        check_golden(result, golden["geometric_ops"][name])


@pytest.mark.parametrize(("name", "amount"), CASES)
def test_mask_pixels_move_as_image_pixels_do(name, amount, golden_tensors):
    values = np.arange(12 * 16, dtype=np.uint8).reshape(12, 16)
    tensors = golden_tensors | {"image": tf.constant(values[..., None].repeat(3, 2))}
    moved = MOVES[name](tensors, amount)
    mask = moved["mask"].numpy()
    np.testing.assert_array_equal(np.where(mask == 255, 128, mask), moved["image"][..., 0])
    assert np.any(mask == 255)  # what came from outside
    without = MOVES[name]({"image": tensors["image"]}, amount)
    assert set(without) == {"image"}
    np.testing.assert_array_equal(without["image"], moved["image"])


@pytest.mark.parametrize(
    ("name", "amount", "tolerance_px"),
    [
        ("translate_x", 9.0, 0),
        ("translate_x", -11.0, 0),
        ("translate_y", 8.0, 0),
        ("translate_y", -6.0, 0),
        ("shear_x", 0.3, 2),  # corners and results each lose up to a pixel to truncation
        ("shear_x", -0.3, 2),
        ("shear_y", 0.3, 2),
        ("shear_y", -0.25, 2),
        ("rotate", 30.0, 2.5),  # and the centres differ by half a pixel
        ("rotate", -17.0, 2.5),
        ("rotate", 90.0, 2.5),
    ],
)
def test_box_stays_around_what_was_painted(name, amount, tolerance_px, paint, measure):
    moved = MOVES[name](paint(80, 90, (30, 35, 51, 52)), amount)
    is_red = (moved["image"][..., 0] == 255).numpy()
    np.testing.assert_allclose(moved["boxes"][0], measure(is_red), atol=tolerance_px)
    np.testing.assert_array_equal(moved["mask"] == 7, is_red)


def test_rotation_by_0_and_shear_by_0_change_nothing(golden_tensors):
    for move in MOVES.values():
        moved = move(golden_tensors, 0.0)
        np.testing.assert_array_equal(moved["image"], golden_tensors["image"])
        np.testing.assert_array_equal(moved["mask"], golden_tensors["mask"])


def test_rotation_by_90_degrees_of_a_square_equals_rot90(golden_tensors):
    square = {"image": golden_tensors["image"][:, :12]}
    turned = geometry.rotate(square, 90.0)["image"]
    np.testing.assert_array_equal(turned, np.rot90(square["image"].numpy()))


@pytest.mark.parametrize(
    ("move", "amount", "expected"),
    [
        (geometry.translate_x, 60.0, [10, 0, 30, 5]),  # 100 px wide: the border's outer 5 %
        (geometry.translate_x, -90.0, [10, 95, 30, 100]),
        (geometry.translate_y, 45.0, [0, 20, 2.5, 40]),  # 50 px high
        (geometry.translate_y, -45.0, [47.5, 20, 50, 40]),
        (geometry.translate_x, 30.0, [10, 0, 30, 10]),  # half out: clipped, no phantom
    ],
)
def test_a_box_pushed_out_survives_as_a_thin_phantom(move, amount, expected, paint):
    moved = move(paint(50, 100, (10, 20, 30, 40)), amount)
    np.testing.assert_allclose(moved["boxes"], [expected], rtol=1e-6)


def test_flip_mirrors_image_mask_and_boxes(paint, measure):
    tensors = paint(20, 30, (3, 4, 9, 15))
    flipped = geometry.flip_horizontal(tensors)
    np.testing.assert_array_equal(flipped["boxes"], [[3, 15, 9, 26]])
    np.testing.assert_array_equal(measure(flipped["image"][..., 0] == 255), flipped["boxes"][0])
    np.testing.assert_array_equal(measure(flipped["mask"] == 7), flipped["boxes"][0])
    twice = geometry.flip_horizontal(flipped)
    for key, value in tensors.items():
        np.testing.assert_array_equal(twice[key], value)


@pytest.mark.parametrize("name", MOVES)
def test_no_boxes_stay_no_boxes(name, golden_tensors):
    tensors = golden_tensors | {"boxes": tf.zeros([0, 4])}
    assert MOVES[name](tensors, 3.0)["boxes"].shape == (0, 4)


def paint_ellipse(height, width, box):
    """An ellipse that fills a box, white on black."""
    ymin, xmin, ymax, xmax = box
    y, x = np.mgrid[:height, :width] + 0.5
    inside = ((2 * y - ymin - ymax) / (ymax - ymin)) ** 2 + ((2 * x - xmin - xmax) / (xmax - xmin)) ** 2 <= 1
    image = np.repeat(np.where(inside, 255, 0).astype(np.uint8)[..., None], 3, axis=2)
    return {"image": tf.constant(image), "boxes": tf.constant([box], tf.float32)}


@pytest.mark.parametrize(
    ("name", "amount"),
    [("rotate", 30.0), ("rotate", -75.0), ("rotate", 45.0), ("rotate", 90.0)]
    + [(name, slope) for name in ("shear_x", "shear_y") for slope in (0.3, -0.25)],
)
@pytest.mark.parametrize("box", [(210, 250, 330, 290), (150, 260, 190, 420)])
def test_ellipse_fit_bounds_a_painted_ellipse(name, amount, box, measure):
    moved = MOVES[name](paint_ellipse(500, 560, box), amount, box_fit="ellipse")
    is_white = (moved["image"][..., 0] == 255).numpy()
    np.testing.assert_allclose(moved["boxes"][0], measure(is_white), atol=2.0)
    around_corners = MOVES[name](paint_ellipse(500, 560, box), amount)["boxes"][0].numpy()
    if amount != 90.0:
        assert np.prod(around_corners[2:] - around_corners[:2]) > 1.03 * np.prod(
            moved["boxes"][0, 2:] - moved["boxes"][0, :2]
        )


def test_ellipse_fit_by_hand():
    boxes = tf.constant([[40.0, 40.0, 60.0, 100.0]])  # centre (50, 70), half axes 10 and 30
    image = tf.zeros([100, 200, 3], tf.uint8)
    cos, sin = 0.8, 0.6
    # Around (50, 100): the centre's offset (0, -30) goes to (18, -24); the halves are sqrt(64 + 324) and
    # sqrt(36 + 576).
    turned = geometry.fit_ellipse(boxes, ((cos, -sin), (sin, cos)), image, tf.constant([50.0, 100.0]))
    np.testing.assert_allclose(
        turned, [[68 - 388**0.5, 76 - 612**0.5, 68 + 388**0.5, 76 + 612**0.5]], atol=1e-4
    )
    same = geometry.fit_ellipse(boxes, ((1.0, 0.0), (0.0, 1.0)), image)
    np.testing.assert_allclose(same, boxes, atol=1e-5)
