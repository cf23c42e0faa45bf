from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.detection import boxes as box_ops
from selftrain_jax.detection.anchors import make_anchors
from selftrain_jax.detection.nms import SoftNMS
from selftrain_jax.detection.postprocess import Postprocess, select_detections
from tests.detection.detection_golden import GOLDEN, network_outputs

BOXES = jnp.array([[[0.0, 0, 10, 10], [0, 1, 10, 11], [30, 30, 50, 50]]])


def logits_of(rows):
    """Return logits of the probabilities given for background and classes of each box."""
    p = np.float32(rows)
    return jnp.asarray(np.log(p / (1 - p)))[None]


def test_detections_equal_the_authors():
    logits, outputs = network_outputs()
    anchors = jnp.asarray(make_anchors(image_size_px=128))
    boxes = box_ops.clip(box_ops.decode(jnp.asarray(0.5 * outputs), anchors), 128)
    found = jax.jit(partial(select_detections, settings=Postprocess()))(
        boxes[None], jnp.asarray(logits)[None]
    )
    golden = GOLDEN["detections"]
    assert found.valid[0].sum() == golden["num"][0] == 100
    count = len(golden["boxes"])
    assert found.classes[0, : len(golden["classes"])].tolist() == golden["classes"]
    np.testing.assert_allclose(found.boxes[0, :count], golden["boxes"], atol=1e-3)
    np.testing.assert_allclose(found.scores[0, : len(golden["scores"])], golden["scores"], atol=1e-6)


def test_background_is_never_detected_and_class_is_the_channel():
    logits = logits_of([[0.99, 0.01, 0.6], [0.99, 0.01, 0.01], [0.99, 0.7, 0.01]])
    found = select_detections(BOXES, logits, Postprocess(max_detections=4))
    assert found.classes[0].tolist() == [1, 2, 0, 0]
    np.testing.assert_allclose(found.scores[0], [0.7, 0.6, 0, 0], rtol=1e-5)
    np.testing.assert_array_equal(found.boxes[0, :2], BOXES[0, jnp.array([2, 0])])


def test_unused_slots_are_zero_and_invalid():
    found = select_detections(BOXES, logits_of([[0.5, 0.01, 0.01]] * 3), Postprocess(max_detections=2))
    for field in found:
        assert not field.any()


def test_classes_do_not_suppress_each_other():
    logits = logits_of([[0.1, 0.9, 0.01], [0.1, 0.8, 0.7], [0.1, 0.01, 0.01]])
    found = select_detections(BOXES, logits, Postprocess(max_detections=3))
    assert found.classes[0].tolist() == [1, 2, 0]  # the second box of class 1 overlaps the first


def test_soft_nms_keeps_the_overlapping_box_at_a_lower_score():
    logits = logits_of([[0.1, 0.9], [0.1, 0.8], [0.1, 0.01]])
    found = select_detections(BOXES, logits, Postprocess(max_detections=3, nms=SoftNMS(0.3)))
    overlap = 90 / 110
    np.testing.assert_allclose(found.scores[0], [0.9, 0.8 * np.exp(-(overlap**2) / 0.3), 0], rtol=1e-5)


@pytest.mark.parametrize("top_k", [1, 3])
def test_only_the_best_of_a_class_enter_nms(top_k):
    logits = logits_of([[0.1, 0.9], [0.1, 0.01], [0.1, 0.8]])
    found = select_detections(BOXES, logits, Postprocess(max_detections=3, pre_nms_top_k=top_k))
    assert found.valid[0].sum() == min(top_k, 2)


def test_best_of_all_classes_fill_the_slots_in_order():
    logits = logits_of([[0.1, 0.3, 0.9, 0.2], [0.1, 0.1, 0.1, 0.1], [0.1, 0.8, 0.4, 0.6]])
    found = select_detections(BOXES, logits, Postprocess(max_detections=3))
    assert found.classes[0].tolist() == [2, 1, 3]
    np.testing.assert_allclose(found.scores[0], [0.9, 0.8, 0.6], rtol=1e-5)
