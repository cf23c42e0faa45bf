from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.detection.postprocess import Postprocess
from selftrain_jax.detection.task import make_detection_task
from selftrain_jax.errors import InputError
from selftrain_jax.types import Batch, BoxTargets
from tests.detection.tiny_model import ANCHORS, MODEL

pytestmark = pytest.mark.compiles

SIZE_PX = 32
TASK = make_detection_task(
    model=MODEL, image_size_px=SIZE_PX, postprocess=Postprocess(max_detections=5), **ANCHORS
)


@pytest.fixture(scope="module")
def variables():
    """Draw by numpy what TASK.init would, which spares compiling it."""
    random = np.random.default_rng(0)

    def draw(path, x):
        if path[-1].key == "kernel":
            return jnp.asarray(random.normal(size=x.shape) * 0.1, jnp.float32)
        return jnp.full(x.shape, path[-1].key in ("scale", "var"), jnp.float32)

    return jax.tree_util.tree_map_with_path(draw, jax.eval_shape(TASK.init, jax.random.key(0)))


def batch_of(is_pseudo):
    images = jax.random.normal(jax.random.key(1), (4, SIZE_PX, SIZE_PX, 3))
    boxes = jnp.tile(jnp.array([[2.0, 2, 20, 24], [5, 5, 9, 9], [0, 0, 32, 32]]), (4, 1, 1))
    classes = jnp.tile(jnp.array([1, 3, 2], jnp.int32), (4, 1))
    valid = jnp.tile(jnp.array([True, True, False]), (4, 1))
    targets = BoxTargets(boxes, classes, valid, jnp.zeros((4, 3), bool))
    return Batch(images, targets, jnp.asarray(is_pseudo))


@jax.jit
def gradients_of(variables, batch):
    """Return the loss terms, new variables, and the gradient of the sum of both losses."""

    def total(params):
        terms, updates = TASK.loss({**variables, "params": params}, batch, jax.random.key(0))
        return terms.human + terms.pseudo, (terms, updates)

    gradient, (terms, updates) = jax.grad(total, has_aux=True)(variables["params"])
    return terms, updates, gradient


def test_loss_is_class_loss_plus_50_box_losses_of_each_source(variables):
    terms, _, _ = gradients_of(variables, batch_of([False, True, False, False]))
    for name in ("human", "pseudo"):
        parts = [terms.metrics[f"train/{part}_loss_{name}"] for part in ("class", "box")]
        np.testing.assert_allclose(getattr(terms, name), parts[0] + 50 * parts[1], rtol=1e-6)
        assert terms.metrics[f"train/num_positives_{name}"] >= 2
    assert (terms.num_human, terms.num_pseudo) == (3, 1)


def test_weights_of_pseudo_boxes_change_the_pseudo_loss_alone(variables):
    is_pseudo = np.array([False, True, False, True])
    batch = batch_of(is_pseudo)
    usual, _, _ = gradients_of(variables, batch)
    ones = jnp.ones((4, 3))
    equal = batch.targets._replace(box_weight=ones, class_weight=ones, class_target=ones)
    of_pseudo = jnp.asarray(is_pseudo)[:, None]
    changed = batch.targets._replace(
        box_weight=jnp.where(of_pseudo, 0.0, ones),
        class_weight=jnp.where(of_pseudo, 0.5, ones),
        class_target=jnp.where(of_pseudo, 0.7, ones),
    )
    found = gradients_of(variables, batch._replace(targets=equal))[0]
    np.testing.assert_array_equal(found.pseudo, usual.pseudo)
    found = gradients_of(variables, batch._replace(targets=changed))[0]
    np.testing.assert_array_equal(found.human, usual.human)
    assert found.metrics["train/box_loss_pseudo"] == 0 < usual.metrics["train/box_loss_pseudo"]
    assert found.metrics["train/class_loss_pseudo"] < usual.metrics["train/class_loss_pseudo"]
    for source in ("human", "pseudo"):
        name = f"train/num_positives_{source}"
        assert found.metrics[name] == usual.metrics[name]


def test_absent_source_is_0_and_gradients_stay_finite(variables):
    terms, _, gradient = gradients_of(variables, batch_of([False] * 4))
    assert (terms.pseudo, terms.num_pseudo) == (0, 0)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradient))
    swapped, _, _ = gradients_of(variables, batch_of([True] * 4))
    np.testing.assert_allclose(swapped.pseudo, terms.human, rtol=1e-6)


def test_padded_slots_change_neither_loss_nor_gradient(variables):
    batch = batch_of([False, False, True, True])
    terms, _, gradient = gradients_of(variables, batch)
    moved = batch.targets.boxes.at[:, 2].set(jnp.array([3.0, 3, 25, 25]))
    other, _, other_gradient = gradients_of(
        variables, batch._replace(targets=batch.targets._replace(boxes=moved))
    )
    np.testing.assert_array_equal(terms.human, other.human)
    jax.tree.map(np.testing.assert_array_equal, gradient, other_gradient)


def test_loss_returns_new_batch_statistics_and_nothing_else(variables):
    _, updates, _ = gradients_of(variables, batch_of([False] * 4))
    assert list(updates) == ["batch_stats"]
    assert jax.tree.structure(updates["batch_stats"]) == jax.tree.structure(variables["batch_stats"])
    means = jax.tree.map(
        lambda old, new: not np.array_equal(old, new), variables["batch_stats"], updates["batch_stats"]
    )
    assert means["backbone"]["stem_bn"]["mean"]


def test_predict_finds_what_the_network_says(variables):
    sure = jax.tree.map(jnp.array, variables)
    bias = jnp.full(2 * 4, -9.0).at[4 + 3].set(2.0)  # the second anchor of every cell is of class 3
    sure["params"]["class_net"]["predictor"] = {"bias": bias, "kernel": jnp.zeros((3, 3, 8, 8))}
    found = jax.jit(TASK.predict)(sure, jnp.zeros((2, SIZE_PX, SIZE_PX, 3)))
    assert found.boxes.shape == (2, 5, 4)
    assert set(np.asarray(found.classes)[np.asarray(found.valid)]) == {3}
    assert found.valid[:, 0].all()
    assert found.boxes.min() >= 0
    assert found.boxes.max() <= SIZE_PX - 1


def test_model_with_another_number_of_anchors_is_refused():
    with pytest.raises(InputError, match=r"num_anchors=9.*Set num_anchors=2"):
        make_detection_task(model=replace(MODEL, num_anchors=9), image_size_px=SIZE_PX, **ANCHORS)
