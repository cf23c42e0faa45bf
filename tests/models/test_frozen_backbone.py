"""A frozen backbone runs as in evaluation and stays to the bit, while the rest of the network learns."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.classification.task import make_classification_task
from selftrain_jax.models.classifier import Classifier
from selftrain_jax.models.frozen_backbone import backbone_trains, freeze_backbone
from selftrain_jax.models.layers import Conv, LayerStyle, norm
from selftrain_jax.models.retinanet import RetinaNet
from selftrain_jax.models.segmenter import Segmenter
from selftrain_jax.selftrain.loss_norm import plain_loss
from selftrain_jax.train.optimizer import adamw, skip_backbone
from selftrain_jax.train.state import create_state
from selftrain_jax.train.step import make_train_step
from selftrain_jax.types import Batch, ClassTargets, LossTerms, Task

pytestmark = pytest.mark.compiles

SEEN = []


class Probe(nn.Module):
    """A backbone of one weight that notes whether it trains."""

    @nn.compact
    def __call__(self, images, *, train):
        SEEN.append(train)
        return {3: images[:, ::8, ::8] * self.param("weight", nn.initializers.ones_init(), ())}


@pytest.mark.parametrize(
    "network",
    [
        RetinaNet(Probe(), None, 2, max_level=3, head_convs=1, head_channels=2),
        Segmenter(Probe(), None, 2, max_level=3, head_convs=1, head_channels=2),
        Classifier(Probe(), 2),
    ],
    ids=lambda network: type(network).__name__,
)
@pytest.mark.parametrize("frozen", [True, False])
def test_only_the_backbone_leaves_training_and_only_inside_the_loss(network, frozen):
    def loss(variables, batch, rng):
        outputs, changed = network.apply(variables, batch.images, train=True, mutable=["batch_stats"])
        total = sum((x.mean() for x in jax.tree.leaves(outputs)), jnp.zeros(()))
        zero = jnp.zeros(())
        return LossTerms(total, zero, zero + 1, zero, {}), dict(changed)

    task = Task(init=lambda rng: {}, loss=loss, predict=lambda *_: None)
    task = freeze_backbone(task) if frozen else task
    batch = jax.tree.map(jnp.asarray, make_batch(16))
    variables = network.init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)), train=False)
    SEEN.clear()
    grads = jax.grad(lambda p: task.loss({**variables, "params": p}, batch, jax.random.key(1))[0].human)(
        variables["params"]
    )
    assert [not frozen] == SEEN
    assert (grads.pop("backbone")["weight"] == 0) == frozen
    assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(grads))
    assert (backbone_trains(True), backbone_trains(False)) == (True, False)


def make_batch(size_px):
    images = np.random.default_rng(0).normal(size=(4, size_px, size_px, 3)).astype(np.float32) + 1
    return Batch(images, ClassTargets(np.arange(4, dtype=np.int32) % 3), np.zeros(4, bool))


class Small(nn.Module):
    """A backbone of one convolution and its BatchNorm."""

    @nn.compact
    def __call__(self, images, *, train):
        x = Conv(4, 3, LayerStyle(), 2, name="stem")(images)
        return {1: nn.relu(norm(LayerStyle(), train=train, name="stem_bn")(x))}


def make_step(frozen):
    network = Classifier(Small(), 3)
    task, tx = make_classification_task(model=network, image_size_px=32), adamw(weight_decay=0.1)
    if frozen:
        task, tx = freeze_backbone(task), skip_backbone(tx)
    state = create_state(task, tx, plain_loss(1.0), jax.random.key(0))
    return state, make_train_step(task, tx, plain_loss(1.0))


@pytest.mark.parametrize("frozen", [True, False])
def test_after_an_update_weights_and_statistics_are_the_same_to_the_bit(frozen):
    before, step = make_step(frozen)
    after, metrics = jax.jit(step)(before, make_batch(32), 0.1)
    assert metrics["train/gradient_norm"] > 0
    for collection in ("params", "batch_stats"):
        old, new = (state.variables[collection]["backbone"] for state in (before, after))
        same = [np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (old, new)), strict=True)]
        assert all(same) if frozen else not any(same)
    old, new = (state.variables["params"]["dense"]["kernel"] for state in (before, after))
    assert np.all(old != new)
