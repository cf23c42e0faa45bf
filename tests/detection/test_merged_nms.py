"""NMS of all classes at once against NMS class by class: the same detections, or not asked."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.detection import postprocess
from selftrain_jax.detection.nms import HardNMS, SoftNMS
from selftrain_jax.detection.postprocess import (
    Postprocess,
    select_class_by_class,
    select_detections,
    select_merged,
)

NUM_ANCHORS, NUM_CLASSES, IMAGES = 300, 5, 6
NUM_MERGED = 64


def example(decimals=7):
    """Boxes in clusters, so that many are suppressed; few decimals make ties."""
    random = np.random.default_rng(0)
    centres = random.uniform(0, 100, (IMAGES, 8, 2))[:, random.integers(0, 8, NUM_ANCHORS)]
    centres += random.normal(0, 2, centres.shape)
    sizes = random.uniform(10, 30, centres.shape)
    boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=2)
    scores = np.round(random.beta(0.4, 4, (IMAGES, NUM_ANCHORS, NUM_CLASSES)), decimals)
    return jnp.asarray(boxes, jnp.float32), jnp.asarray(scores, jnp.float32)


def assert_same(found, expected, rows=slice(None)):
    for name in ("scores", "classes", "boxes", "valid"):
        np.testing.assert_array_equal(getattr(found, name)[rows], getattr(expected, name)[rows], name)


@pytest.mark.parametrize("nms", [HardNMS(0.5), SoftNMS(0.3), SoftNMS(0.3, "tensorflow")])
@pytest.mark.parametrize("decimals", [7, 2])
@pytest.mark.parametrize(("max_detections", "threshold"), [(8, 0.05), (30, 0.4), (100, 0.6)])
def test_where_it_says_so_the_detections_are_those_of_each_class(nms, decimals, max_detections, threshold):
    boxes, scores = example(decimals)
    settings = Postprocess(threshold, max_detections=max_detections, nms=nms)
    found, is_same = select_merged(boxes, scores, settings, NUM_MERGED)
    expected = select_class_by_class(boxes, scores, settings)
    assert is_same.any()
    assert_same(found, expected, np.asarray(is_same))


def test_it_does_not_say_so_where_a_score_left_out_would_be_found():
    boxes, scores = example()
    settings = Postprocess(0.0, max_detections=60)
    found, is_same = select_merged(boxes, scores, settings, NUM_MERGED)
    expected = select_class_by_class(boxes, scores, settings)
    assert not is_same.any()
    assert not np.array_equal(found.scores, expected.scores)


@pytest.mark.parametrize("max_detections", [8, 60])
def test_selection_is_that_of_each_class_either_way(monkeypatch, max_detections):
    monkeypatch.setattr(postprocess, "MERGED", NUM_MERGED)
    boxes, scores = example()
    logits = jnp.log(scores / (1 - scores))
    logits = jnp.concatenate([jnp.zeros((IMAGES, NUM_ANCHORS, 1)), logits], axis=2)
    settings = Postprocess(0.0, max_detections=max_detections)
    expected = select_class_by_class(boxes, jax.nn.sigmoid(logits[..., 1:]), settings)
    assert_same(jax.jit(select_detections, static_argnums=2)(boxes, logits, settings), expected)
    assert expected.valid.all()


def test_a_class_is_not_lowered_by_another():
    boxes = jnp.array([[[0.0, 0, 10, 10], [0, 1, 10, 11], [0, 0, 10, 10]]])
    scores = jnp.array([[[0.9, 0.0], [0.8, 0.0], [0.0, 0.7]]])
    found, _ = select_merged(boxes, scores, Postprocess(max_detections=4), 6)
    assert found.classes[0].tolist() == [1, 2, 0, 0]
    np.testing.assert_array_equal(found.scores[0], jnp.array([0.9, 0.7, 0, 0]))
