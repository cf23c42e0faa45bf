"""The classification task: its terms by source, its gradient, and that it learns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.classification.task import cross_entropy, loss_terms, make_classification_task
from selftrain_jax.errors import InputError
from selftrain_jax.models.classifier import Classifier
from selftrain_jax.selftrain.loss_norm import plain_loss
from selftrain_jax.train.optimizer import momentum_sgd
from selftrain_jax.train.state import create_state
from selftrain_jax.train.step import make_train_step
from tests.classification.toy_networks import NUM_CLASSES, ToyBackbone, class_batch

pytestmark = pytest.mark.compiles

MODEL = Classifier(backbone=ToyBackbone(), num_classes=NUM_CLASSES)


def make_task(**settings):
    return make_classification_task(model=MODEL, image_size_px=6, **settings)


def test_human_and_pseudo_images_are_averaged_apart_and_those_without_class_left_out() -> None:
    batch = class_batch()._replace(is_pseudo=jnp.array([False, True, False, True, False, False]))
    classes = jnp.array([0, 1, -1, 3, 2, 0])
    batch = batch._replace(targets=batch.targets._replace(classes=classes))
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(6, NUM_CLASSES)), jnp.float32)
    logits = logits.at[0, 0].set(9.0)
    terms = loss_terms(logits, batch, 0.1)
    each = np.asarray(cross_entropy(logits, classes, 0.1))
    hits = np.asarray(logits).argmax(1) == np.asarray(classes)
    np.testing.assert_allclose(terms.human, each[[0, 4, 5]].mean(), rtol=1e-6)
    np.testing.assert_allclose(terms.pseudo, each[[1, 3]].mean(), rtol=1e-6)
    assert (terms.num_human, terms.num_pseudo) == (3, 2)
    np.testing.assert_allclose(terms.metrics["train/top1_human"], hits[[0, 4, 5]].mean())
    assert terms.auxiliary == 0.0


def test_human_batch_has_no_pseudo_loss() -> None:
    task = make_task()
    terms, changed = jax.jit(task.loss)(task.init(jax.random.key(0)), class_batch(), jax.random.key(1))
    assert terms.pseudo == terms.num_pseudo == 0
    assert terms.human > 0
    assert set(changed) == {"batch_stats"}


def test_scores_are_probabilities() -> None:
    task = make_task()
    found = task.predict(task.init(jax.random.key(0)), class_batch().images)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-6)
    assert (found.probabilities >= 0).all()


def test_training_learns_the_classes() -> None:
    task, tx = make_task(), momentum_sgd(weight_decay=1e-4)
    step = jax.jit(make_train_step(task, tx, plain_loss(0.0)))
    state = create_state(task, tx, plain_loss(0.0), jax.random.key(0))
    for number in range(150):
        state, metrics = step(state, class_batch(number), jnp.float32(0.1))
    test = class_batch(10_000, batch_size=200)
    scores = task.predict(state.variables, test.images).probabilities
    assert np.mean(scores.argmax(axis=1) == test.targets.classes) > 0.9
    np.testing.assert_allclose(metrics["train/loss"], metrics["train/loss_human"])


def test_smoothing_outside_its_range_is_refused() -> None:
    with pytest.raises(InputError, match="label_smoothing is 1"):
        make_task(label_smoothing=1.0)
