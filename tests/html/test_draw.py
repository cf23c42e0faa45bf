import numpy as np

from selftrain_jax.html.draw import CLASS_COLORS, border_mask, class_color, draw_boxes, fit_image

RED = (255, 0, 0)


def draw(box, label="", **kwargs):
    image = np.full((40, 60, 3), 7, np.uint8)
    drawn = draw_boxes(image, np.array([box], np.float32), [label], [RED], **kwargs)
    assert (image == 7).all(), "the image that was given is left alone"
    return drawn


def test_border_is_exactly_at_the_stated_pixels():
    red = (draw([10, 20, 30, 50], width_px=2) == RED).all(-1)
    expected = np.zeros((40, 60), bool)
    expected[10:30, 20:50] = True
    expected[12:28, 22:48] = False
    np.testing.assert_array_equal(red, expected)


def test_corners_are_rounded_to_the_nearest_pixel():
    red = (draw([9.6, 20.4, 30.4, 49.6], width_px=1) == RED).all(-1)
    rows, columns = np.nonzero(red)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 29, 20, 49)


def test_box_beyond_the_image_is_cut_at_its_edge():
    red = (draw([-5, -5, 100, 100], width_px=1) == RED).all(-1)
    assert red[0].all()
    assert red[-1].all()
    assert red[:, 0].all()
    assert red[:, -1].all()
    assert not red[1:-1, 1:-1].any()


def test_degenerate_box_outside_the_image_paints_one_pixel():
    assert (draw([50, 70, 50, 70]) == RED).all(-1).sum() == 1


def test_dashed_border_is_part_of_the_solid_one():
    solid, dashed = border_mask(20, 30, 2, False), border_mask(20, 30, 2, True)
    assert not (dashed & ~solid).any()
    assert 0.3 < dashed.sum() / solid.sum() < 0.7
    painted = (draw([10, 20, 30, 50], dashed=[True]) == RED).all(-1)
    np.testing.assert_array_equal(painted[10:30, 20:50], dashed)


def test_label_stands_above_its_box_and_changes_nothing_else():
    plain, labelled = draw([25, 10, 38, 50]), draw([25, 10, 38, 50], "cat 0.90", font_px=12)
    changed = (plain != labelled).any(-1)
    assert changed[9:25].any()
    assert not changed[25:].any()
    assert not changed[:9].any()


def test_label_at_the_top_stays_in_the_image():
    changed = (draw([0, 40, 38, 60]) != draw([0, 40, 38, 60], "cat")).any(-1)
    assert changed.any()


def test_no_boxes_give_the_same_pixels():
    image = np.random.default_rng(0).integers(0, 255, (9, 9, 3), np.uint8)
    np.testing.assert_array_equal(draw_boxes(image, np.zeros((0, 4), np.float32), [], []), image)


def test_colors_differ_for_the_first_classes_and_then_come_again():
    assert len({class_color(class_id) for class_id in range(1, 8)}) == 7
    assert class_color(8) == class_color(1) == CLASS_COLORS[0]


def test_fit_scales_boxes_like_pixels():
    image = np.zeros((20, 40, 3), np.uint8)
    image[5:10, 10:30] = 255
    resized, boxes = fit_image(image, np.array([[5, 10, 10, 30]], np.float32), 400)
    np.testing.assert_allclose(boxes, [[50, 100, 100, 300]])
    rows, columns = np.nonzero(resized[..., 0] > 127)
    np.testing.assert_allclose(
        [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1], boxes[0], atol=2
    )
