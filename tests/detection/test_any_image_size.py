"""An image size that the pyramid does not divide equals a larger network with the image padded by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.detection import boxes as box_ops
from selftrain_jax.detection.anchors import make_anchors
from selftrain_jax.detection.nms import HardNMS
from selftrain_jax.detection.postprocess import Postprocess, select_detections
from selftrain_jax.detection.task import make_detection_task
from selftrain_jax.errors import InputError
from selftrain_jax.types import Batch, BoxTargets
from tests.detection.tiny_model import ANCHORS, MODEL

pytestmark = pytest.mark.compiles

SIZE_PX, PADDED_PX = 40, 48  # the coarsest stride is 16
SELECT = Postprocess(score_threshold=0.0, max_detections=12)
IMAGES = jax.random.normal(jax.random.key(1), (4, SIZE_PX, SIZE_PX, 3))
BY_HAND = np.zeros((4, PADDED_PX, PADDED_PX, 3), np.float32)
BY_HAND[:, :SIZE_PX, :SIZE_PX] = IMAGES


def make_task(size_px, postprocess=SELECT):
    return make_detection_task(model=MODEL, image_size_px=size_px, postprocess=postprocess, **ANCHORS)


@pytest.fixture(scope="module")
def variables():
    """Draw by numpy what init would, which spares compiling it; the classifier's weights are larger."""
    random = np.random.default_rng(0)

    def draw(path, x):
        if path[-1].key == "kernel":
            return jnp.asarray(random.normal(size=x.shape) * 0.1, jnp.float32)
        return jnp.full(x.shape, path[-1].key in ("scale", "var"), jnp.float32)

    return jax.tree_util.tree_map_with_path(draw, jax.eval_shape(make_task(SIZE_PX).init, jax.random.key(0)))


def test_detections_are_those_of_the_larger_network_clipped_to_the_asked_size(variables):
    found = jax.jit(make_task(SIZE_PX).predict)(variables, IMAGES)

    @jax.jit
    def by_hand(images):
        logits, outputs = MODEL.apply(variables, images, train=False)
        anchors = jnp.asarray(make_anchors(image_size_px=PADDED_PX, min_level=3, max_level=4, **ANCHORS))
        boxes = jnp.clip(box_ops.decode(outputs, anchors), 0, SIZE_PX - 1)
        return select_detections(boxes, logits, SELECT)

    jax.tree.map(np.testing.assert_array_equal, found, by_hand(BY_HAND))
    assert found.valid.sum() > 12
    assert found.boxes.max() == SIZE_PX - 1


def test_without_suppression_they_are_exactly_those_of_the_task_of_the_padded_size(variables):
    """Clipping further decides only what overlaps."""
    select = Postprocess(score_threshold=0.0, max_detections=12, nms=HardNMS(iou_threshold=1.0))
    found = jax.jit(make_task(SIZE_PX, select).predict)(variables, IMAGES)
    larger = jax.jit(make_task(PADDED_PX, select).predict)(variables, BY_HAND)
    clipped = larger._replace(boxes=np.minimum(larger.boxes, SIZE_PX - 1))
    jax.tree.map(np.testing.assert_array_equal, found, clipped)


def test_a_task_of_one_size_finds_in_images_of_another_what_a_task_of_that_size_does(variables):
    found = jax.jit(make_task(SIZE_PX).predict)(variables, BY_HAND)
    jax.tree.map(
        np.testing.assert_array_equal, found, jax.jit(make_task(PADDED_PX).predict)(variables, BY_HAND)
    )
    assert found.boxes.max() == PADDED_PX - 1


def test_loss_gradient_and_statistics_are_those_of_the_image_padded_by_hand(variables):
    boxes = jnp.tile(jnp.array([[2.0, 2, 20, 24], [5, 5, 39, 39], [0, 0, 32, 32]]), (4, 1, 1))
    classes = jnp.tile(jnp.array([1, 3, 2], jnp.int32), (4, 1))
    valid = jnp.tile(jnp.array([True, True, False]), (4, 1))
    targets = BoxTargets(boxes, classes, valid, jnp.zeros((4, 3), bool))

    def run(task, images):
        def total(params):
            batch = Batch(jnp.asarray(images), targets, jnp.array([False, True, False, False]))
            terms, updates = task.loss({**variables, "params": params}, batch, jax.random.key(0))
            return terms.human + terms.pseudo, updates

        return jax.jit(jax.value_and_grad(total, has_aux=True))(variables["params"])

    jax.tree.map(
        np.testing.assert_array_equal, run(make_task(SIZE_PX), IMAGES), run(make_task(PADDED_PX), BY_HAND)
    )


@pytest.mark.parametrize("size", [0, -1])
def test_a_size_below_one_is_refused(size):
    with pytest.raises(InputError, match=f"image_size_px is {size}; expected at least 1"):
        make_task(size)
