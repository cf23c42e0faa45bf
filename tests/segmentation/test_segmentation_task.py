"""The segmentation task: its terms by source, its gradient, and that it learns."""

from dataclasses import replace
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.models.segmenter import Segmenter
from selftrain_jax.segmentation.losses import RESOLUTIONS, pixel_losses
from selftrain_jax.segmentation.task import loss_terms, make_segmentation_task
from selftrain_jax.selftrain.loss_norm import ema_loss_normalizer
from selftrain_jax.train.optimizer import momentum_sgd
from selftrain_jax.train.sharding import make_mesh, shard_batch, shard_state
from selftrain_jax.train.state import create_state
from selftrain_jax.train.step import jit_train_step, make_train_step
from selftrain_jax.types import Batch, MaskTargets

pytestmark = pytest.mark.compiles

SIZE_PX, NUM_CLASSES = 32, 3
IS_PSEUDO = np.array([False, True, False, True])


class ToyBackbone(nn.Module):
    """One convolution, BatchNorm; level 3 alone."""

    @nn.compact
    def __call__(self, images, *, train):
        x = nn.Conv(6, (8, 8), (8, 8), name="stem")(images)
        return {3: nn.BatchNorm(use_running_average=not train, momentum=0.9, name="stem_bn")(x)}


MODEL = Segmenter(ToyBackbone(), None, NUM_CLASSES, max_level=3, head_convs=1, head_channels=4)


def batch_of(seed=0, is_pseudo=IS_PSEUDO):
    """Squares of 16 px whose channel is their class, in noise; a fifth of the pixels ignored."""
    random = np.random.default_rng((5, seed))
    squares = random.integers(0, NUM_CLASSES, (len(is_pseudo), 2, 2))
    masks = squares.repeat(16, axis=1).repeat(16, axis=2)
    images = 3.0 * (masks[..., None] == np.arange(3)) + random.normal(size=(*masks.shape, 3))
    masks = np.where(random.uniform(size=masks.shape) < 0.2, 255, masks).astype(np.uint8)
    return Batch(jnp.asarray(images, jnp.float32), MaskTargets(jnp.asarray(masks)), jnp.asarray(is_pseudo))


def with_ignored(batch, chosen):
    masks = jnp.where(jnp.asarray(chosen)[:, None, None], jnp.uint8(255), batch.targets.masks)
    return batch._replace(targets=MaskTargets(masks))


jit_loss_terms = jax.jit(loss_terms, static_argnums=2)
LOGITS = jnp.asarray(np.random.default_rng(1).normal(size=(4, 8, 8, NUM_CLASSES)), jnp.float32)


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_each_sources_loss_is_the_mean_over_its_own_pixels(resolution) -> None:
    batch = batch_of()
    terms = jit_loss_terms(LOGITS, batch, resolution)
    losses, valid = map(np.asarray, pixel_losses(LOGITS, batch.targets.masks, resolution))
    for value, chosen in ((terms.human, ~IS_PSEUDO), (terms.pseudo, IS_PSEUDO)):
        np.testing.assert_allclose(value, losses[chosen][valid[chosen]].mean(), rtol=1e-6)
    assert (terms.num_human, terms.num_pseudo) == (2, 2)


def test_weights_of_classes_are_for_human_pixels_alone() -> None:
    batch, weights = batch_of(), np.linspace(0.5, 2.0, NUM_CLASSES).astype(np.float32)
    terms, plain = (
        jax.jit(partial(loss_terms, loss_resolution="stride4", class_weights=value))(LOGITS, batch)
        for value in (weights, None)
    )
    losses, valid = map(np.asarray, pixel_losses(LOGITS, batch.targets.masks, "stride4"))
    masks = np.minimum(np.asarray(batch.targets.masks)[:, ::4, ::4], NUM_CLASSES - 1)
    human = (losses * weights[masks])[~IS_PSEUDO][valid[~IS_PSEUDO]].mean()
    np.testing.assert_allclose(terms.human, human, rtol=1e-6)
    np.testing.assert_array_equal(terms.pseudo, plain.pseudo)


def test_metrics_by_a_count_of_pixels() -> None:
    batch = with_ignored(batch_of(), [False, True, False, False])
    metrics = jit_loss_terms(LOGITS, batch, "full").metrics
    masks, best = np.asarray(batch.targets.masks)[:, ::4, ::4], np.argmax(LOGITS, axis=-1)
    for name, chosen in (("human", ~IS_PSEUDO), ("pseudo", IS_PSEUDO)):
        valid = masks[chosen] != 255
        accuracy = (masks == best)[chosen][valid].mean()
        np.testing.assert_allclose(metrics[f"train/pixel_accuracy_{name}"], accuracy, rtol=1e-6)
        np.testing.assert_allclose(metrics[f"train/valid_pixels_{name}"], valid.mean(), rtol=1e-6)
    assert len(metrics) == 4


def test_only_images_with_a_valid_pixel_count() -> None:
    terms = jit_loss_terms(LOGITS, with_ignored(batch_of(), [False, True, True, False]), "stride4")
    assert (terms.num_human, terms.num_pseudo) == (1, 1)


def test_half_without_a_valid_pixel_drops_out_of_the_loss_normalisation() -> None:
    normalizer = ema_loss_normalizer(alpha=2.0, decay=0.9)
    both = jit_loss_terms(LOGITS, batch_of(), "stride4")
    _, before, _ = normalizer.update(both, normalizer.init())
    terms = jit_loss_terms(LOGITS, with_ignored(batch_of(), IS_PSEUDO), "stride4")
    loss, after, _ = normalizer.update(terms, before)
    np.testing.assert_allclose(loss, both.human, rtol=1e-6)
    assert after.pseudo_average == before.pseudo_average
    assert after.pseudo_updates == 1
    assert terms.metrics["train/valid_pixels_pseudo"] == terms.metrics["train/pixel_accuracy_pseudo"] == 0


@pytest.fixture(scope="module")
def variables():
    """Draw by numpy what init would, which spares compiling it."""
    random = np.random.default_rng(0)
    task = make_segmentation_task(model=MODEL, image_size_px=SIZE_PX)

    def draw(path, x):
        if path[-1].key == "kernel":
            return jnp.asarray(random.normal(size=x.shape) * 0.1, jnp.float32)
        return jnp.full(x.shape, path[-1].key in ("scale", "var"), jnp.float32)

    return jax.tree_util.tree_map_with_path(draw, jax.eval_shape(task.init, jax.random.key(0)))


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_all_ignored_leaves_value_and_gradient_of_the_network_finite_and_0(variables, resolution) -> None:
    task = make_segmentation_task(model=MODEL, image_size_px=SIZE_PX, loss_resolution=resolution)

    @jax.jit
    def gradients_of(batch):
        def total(params):
            terms, updates = task.loss({**variables, "params": params}, batch, jax.random.key(1))
            return terms.human + terms.pseudo, updates

        return jax.value_and_grad(total, has_aux=True)(variables["params"])

    (value, updates), gradient = gradients_of(with_ignored(batch_of(), [True] * 4))
    assert value == 0
    jax.tree.map(lambda g: np.testing.assert_array_equal(g, 0), gradient)
    assert list(updates) == ["batch_stats"]
    assert np.abs(updates["batch_stats"]["backbone"]["stem_bn"]["mean"]).max() > 0
    (value, _), gradient = gradients_of(batch_of())
    assert value > 0
    assert all(np.isfinite(g).all() and np.any(g) for g in jax.tree.leaves(gradient))


def test_training_on_two_devices_learns_the_classes() -> None:
    task = make_segmentation_task(model=MODEL, image_size_px=SIZE_PX)
    tx, normalizer, mesh = momentum_sgd(weight_decay=1e-4), ema_loss_normalizer(1.0, 0.9), make_mesh()
    step = jit_train_step(make_train_step(task, tx, normalizer), mesh)
    state = shard_state(mesh, create_state(task, tx, normalizer, jax.random.key(0)))
    first = None
    for number in range(60):
        batch = shard_batch(mesh, jax.device_get(batch_of(number)))
        state, metrics = step(state, batch, np.float32(0.1))
        first = first or float(metrics["train/loss"])
    np.testing.assert_allclose(first, np.log(NUM_CLASSES), rtol=0.02)
    assert metrics["train/pixel_accuracy_pseudo"] > 0.9
    assert metrics["train/loss"] < 0.3
    test = batch_of(10_000)
    found = jax.jit(task.predict)(jax.device_get(state.variables), test.images).logits
    right = np.argmax(found, axis=-1) == np.asarray(test.targets.masks)[:, ::4, ::4]
    assert right[np.asarray(test.targets.masks)[:, ::4, ::4] != 255].mean() > 0.9


def test_prediction_is_logits_of_a_quarter_of_any_size() -> None:
    task = make_segmentation_task(model=MODEL, image_size_px=SIZE_PX)
    shapes = jax.eval_shape(task.init, jax.random.key(0))
    found = jax.eval_shape(task.predict, shapes, jnp.zeros((2, 64, 96, 3)))
    assert found.logits.shape == (2, 16, 24, NUM_CLASSES)
    assert found.logits.dtype == jnp.float32


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size_px": 0}, r"is 0; expected at least 1, such as 128"),
        ({"loss_resolution": "stride8"}, r"'stride8'; use one of stride4, full"),
        ({"model": replace(MODEL, num_classes=256)}, r"num_classes=256.*at most 255"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message) -> None:
    with pytest.raises(InputError, match=message):
        make_segmentation_task(**{"model": MODEL, "image_size_px": SIZE_PX, **settings})
