import jax.numpy as jnp
import numpy as np

from selftrain_jax.detection import boxes as box_ops
from selftrain_jax.detection.anchors import make_anchors
from tests.detection.detection_golden import GOLDEN


def test_iou_by_hand():
    box = jnp.array([0.0, 0, 2, 2])
    others = jnp.array([[0.0, 0, 2, 2], [0, 1, 2, 3], [0, 2, 2, 4], [5, 5, 6, 6], [0.5, 0.5, 1.5, 1.5]])
    np.testing.assert_allclose(box_ops.iou(box, others), [1, 2 / 6, 0, 0, 1 / 4], rtol=1e-6)


def test_iou_of_empty_boxes_is_zero():
    empty = jnp.zeros(4)
    inside_out = jnp.array([3.0, 3, 1, 1])
    assert box_ops.iou(empty, empty) == 0
    assert box_ops.iou(inside_out, jnp.array([0.0, 0, 4, 4])) == 0


def test_encode_by_hand():
    anchor = jnp.array([0.0, 0, 10, 20])
    box = jnp.array([5.0, 0, 25, 20])  # centre (15, 10), size (20, 20)
    np.testing.assert_allclose(box_ops.encode(box, anchor), [1.0, 0.0, np.log(2), 0.0], atol=1e-6)


def test_decode_inverts_encode_up_to_its_extra_pixel():
    anchors = jnp.array([[10.0, 10, 42, 42], [0, 0, 100, 50]])
    boxes = jnp.array([[12.0, 8, 40, 60], [20, 5, 90, 45]])
    once = box_ops.decode(box_ops.encode(boxes, anchors), anchors)
    assert 0.01 < np.abs(once - boxes).max() < 1.0


def test_decode_of_zero_is_the_anchor():
    anchors = jnp.asarray(make_anchors(image_size_px=128))
    np.testing.assert_allclose(box_ops.decode(jnp.zeros_like(anchors), anchors), anchors, atol=1e-4)


def test_decode_equals_the_authors():
    matching = GOLDEN["matching"]
    anchors = make_anchors(image_size_px=128)[matching["positive_index"]]
    decoded = box_ops.decode(jnp.array(matching["positive_targets"]), jnp.asarray(anchors))
    np.testing.assert_allclose(decoded, GOLDEN["encode_decode"]["decoded_from_targets"], atol=1e-4)


def test_decoded_size_is_limited_to_62_5_anchors():
    anchor = jnp.array([0.0, 0, 9, 9])  # 10 px by decode's convention
    ymin, xmin, ymax, xmax = box_ops.decode(jnp.array([0.0, 0, 50, 0]), anchor)
    np.testing.assert_allclose([ymax - ymin + 1, xmax - xmin + 1], [625, 10], rtol=1e-5)


def test_clip_limits_to_the_last_pixel():
    np.testing.assert_array_equal(box_ops.clip(jnp.array([-3.0, 5, 128, 200]), 128), [0, 5, 127, 127])
