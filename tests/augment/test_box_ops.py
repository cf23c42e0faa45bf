import numpy as np
import pytest
import tensorflow as tf

from selftrain_jax.augment import box_ops, pixel_ops

pytestmark = pytest.mark.tf
SEED = (3, 4)


def invert(crop, seed):
    return {**crop, "image": pixel_ops.invert(crop["image"])}


def scene(*boxes, height=20, width=30):
    return {
        "image": tf.zeros([height, width, 3], tf.uint8),
        "boxes": tf.reshape(tf.constant(boxes, tf.float32), [-1, 4]),
    }


def test_a_box_covers_its_truncated_pixels_both_ends_included():
    tensors = scene([2.9, 3.0, 6.2, 8.9])
    changed = box_ops.within_boxes(tensors, 1.0, invert, tf.constant(SEED))
    expected = np.zeros([20, 30], np.uint8)
    expected[2:7, 3:9] = 255
    np.testing.assert_array_equal(changed["image"], expected[..., None].repeat(3, 2))
    np.testing.assert_array_equal(changed["boxes"], tensors["boxes"])


def test_a_box_reaching_the_border_stops_at_the_last_pixel():
    changed = box_ops.within_boxes(scene([18, 28, 20, 30]), 1.0, invert, tf.constant(SEED))
    assert np.count_nonzero(changed["image"][..., 0]) == 4


def test_each_box_is_drawn_on_its_own(over_seeds):
    tensors = scene([0, 0, 3, 3], [5, 5, 8, 8], [10, 10, 13, 13])

    def changed(seed):
        image = box_ops.within_boxes(tensors, 0.3, invert, seed)["image"]
        return tf.stack([image[1, 1, 0], image[6, 6, 0], image[11, 11, 0]]) == 255

    drawn = over_seeds(changed, 600)
    np.testing.assert_allclose(drawn.mean(0), 0.3, atol=0.06)  # 3 deviations of a binomial share
    np.testing.assert_allclose(drawn.all(1).mean(), 0.027, atol=0.025)


def test_probability_zero_and_no_boxes_change_nothing(in_dataset):
    for tensors, probability in ((scene([0, 0, 9, 9]), 0.0), (scene(), 1.0)):
        changed = box_ops.within_boxes(tensors, probability, invert, tf.constant(SEED))
        assert not np.any(changed["image"])
    (mapped,) = in_dataset(lambda x: box_ops.within_boxes(x, 1.0, invert, tf.constant(SEED)), scene())
    assert not np.any(mapped["image"])


def test_boxes_are_visited_in_random_order(over_seeds):
    tensors = scene([0, 0, 5, 5], [2, 2, 8, 8])

    def grow(crop, seed):  # writes the old maximum + 1, so that the later box shows where both overlap
        return {"image": tf.fill(tf.shape(crop["image"]), tf.reduce_max(crop["image"]) + 1)}

    image = over_seeds(lambda seed: box_ops.within_boxes(tensors, 1.0, grow, seed)["image"], 40)[..., 0]
    second_is_last = image[:, 7, 7] == 2
    assert 5 < second_is_last.sum() < 35
    np.testing.assert_array_equal(image[:, 0, 0], np.where(second_is_last, 1, 2))


def test_bbox_cutout_erases_around_a_pixel_of_the_box(over_seeds, measure):
    tensors = scene([8, 10, 11, 17])  # pixels 8..11 and 10..17: 4 x 8

    def cut(seed):
        return box_ops.bbox_cutout(tensors, 0.75, seed)["image"][..., 0]

    erased = [measure(image == 128) for image in over_seeds(cut, 100)]
    centers = np.array([[(ymin + ymax) / 2, (xmin + xmax) / 2] for ymin, xmin, ymax, xmax in erased])
    sizes = {(ymax - ymin, xmax - xmin) for ymin, xmin, ymax, xmax in erased}
    assert sizes == {(2, 6)}  # 2 trunc(0.75 * 4 / 2), 2 trunc(0.75 * 8 / 2)
    np.testing.assert_array_equal(centers.min(0), [8, 10])
    np.testing.assert_array_equal(centers.max(0), [11, 17])
    assert not np.any(box_ops.bbox_cutout(scene(), 0.75, tf.constant(SEED))["image"])
