"""SimCLR's task on a network of two layers: on one device and on two, gradients, and what is measured."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.contrastive.loss import nt_xent
from selftrain_jax.contrastive.task import make_contrastive_task, split_views
from selftrain_jax.errors import InputError
from selftrain_jax.models.projection import ProjectedBackbone
from selftrain_jax.train.sharding import make_mesh, shard_batch, with_mesh
from selftrain_jax.types import Batch, ClassTargets, FittedImages
from tests.classification.toy_networks import ToyBackbone
from tests.contrastive.test_loss import numpy_loss

PX, NUM_IMAGES, TEMPERATURE = 8, 8, 0.3
MODEL = ProjectedBackbone(ToyBackbone(), output_dim=5)


@pytest.fixture(scope="module")
def task():
    return make_contrastive_task(model=MODEL, image_size_px=PX, temperature=TEMPERATURE)


@pytest.fixture(scope="module")
def variables(task):
    return task.init(jax.random.key(0))


def make_batch(seed: int = 0) -> Batch:
    images = np.random.default_rng(seed).normal(size=(NUM_IMAGES, 2 * PX, PX, 3))
    targets = ClassTargets(np.full(NUM_IMAGES, -1, np.int32))
    return jax.tree.map(jnp.asarray, Batch(images.astype(np.float32), targets, np.zeros(NUM_IMAGES, bool)))


def loss_and_gradient(task, variables, mesh, batch):
    loss = with_mesh(mesh, task.loss)

    def total(params, batch):
        terms, changed = loss({**variables, "params": params}, batch, jax.random.key(1))
        return terms.human, (terms, changed)

    (value, (terms, changed)), gradient = jax.jit(jax.value_and_grad(total, has_aux=True))(
        variables["params"], shard_batch(mesh, batch)
    )
    return value, terms, changed, gradient


def test_two_devices_have_the_loss_and_the_gradient_of_one(task, variables) -> None:
    """Also of the BatchNorms; the average of the losses of two halves is another number."""
    batch = make_batch()
    found = [
        loss_and_gradient(task, variables, make_mesh(devices=jax.devices()[:count]), batch)
        for count in (1, 2)
    ]
    for one, two in zip(jax.tree.leaves(found[0]), jax.tree.leaves(found[1]), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)
    views = split_views(batch.images)
    z, _ = MODEL.apply(variables, views, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(found[1][0], numpy_loss(np.asarray(z), TEMPERATURE).mean(), rtol=1e-4)
    halves = np.mean([numpy_loss(np.asarray(half), TEMPERATURE).mean() for half in np.split(z, 2)])
    assert abs(halves - float(found[1][0])) > 0.1


def test_gradient_reaches_every_layer(task, variables) -> None:
    _, terms, changed, gradient = loss_and_gradient(
        task, variables, make_mesh(devices=jax.devices()[:1]), make_batch()
    )
    for name in ("backbone", "projection1", "projection1_bn", "projection2", "projection2_bn"):
        assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradient[name])) > 1e-6, name
    assert set(changed) == {"batch_stats"}
    assert set(changed["batch_stats"]) == {"backbone", "projection1_bn", "projection2_bn"}
    assert (float(terms.num_human), float(terms.num_pseudo), float(terms.pseudo)) == (NUM_IMAGES, 0, 0)


def test_views_of_an_image_follow_one_another() -> None:
    pairs = np.arange(3 * 4 * 2 * 3).reshape(3, 4, 2, 3)
    views = split_views(pairs)
    assert views.shape == (6, 2, 2, 3)
    for number in range(3):
        np.testing.assert_array_equal(views[2 * number], pairs[number, :2])
        np.testing.assert_array_equal(views[2 * number + 1], pairs[number, 2:])


def test_order_of_the_images_does_not_change_the_loss(task, variables) -> None:
    batch, order = make_batch(), np.random.default_rng(3).permutation(NUM_IMAGES)
    losses = [
        float(task.loss(variables, batch._replace(images=images), jax.random.key(0))[0].human)
        for images in (batch.images, batch.images[order])
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_top1_is_the_share_of_views_that_find_their_partner(task, variables) -> None:
    batch = make_batch()
    same = jnp.concatenate([batch.images[:, :PX]] * 2, axis=1)
    terms, _ = task.loss(variables, batch._replace(images=same), jax.random.key(0))
    assert float(terms.metrics["train/contrastive_top1"]) == 1
    z, _ = MODEL.apply(variables, split_views(batch.images), train=True, mutable=["batch_stats"])
    terms, _ = task.loss(variables, batch, jax.random.key(0))
    hits = nt_xent(z, TEMPERATURE).hits
    assert float(terms.metrics["train/contrastive_top1"]) == pytest.approx(float(hits.mean()))


def test_features_are_of_length_1_and_projections_the_heads(task, variables) -> None:
    images = jnp.asarray(split_views(make_batch().images))
    features = task.features(variables, FittedImages(images, np.full((len(images), 2), PX, np.int32)))
    assert features.shape == (2 * NUM_IMAGES, 6)
    np.testing.assert_allclose(jnp.linalg.norm(features, axis=1), 1, rtol=1e-5)
    assert task.predict(variables, images).shape == (2 * NUM_IMAGES, 5)


def test_a_temperature_of_0_is_refused() -> None:
    with pytest.raises(InputError, match="temperature is 0;"):
        make_contrastive_task(model=MODEL, image_size_px=PX, temperature=0.0)
