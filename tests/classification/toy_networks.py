"""A detector and a classifier of two layers that share one, fast to compile."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from selftrain_jax.types import Batch, BoxTargets, ClassTargets, LossTerms, Task

NUM_CLASSES = 4


class ToyBackbone(nn.Module):
    """Convolution, BatchNorm."""

    @nn.compact
    def __call__(self, images, *, train):
        x = nn.Conv(6, (3, 3), (2, 2), name="stem")(images)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9, name="stem_bn")(x)
        return {1: nn.relu(x)}


class ToyDetector(nn.Module):
    """Backbone and a linear map with a BatchNorm of its own."""

    @nn.compact
    def __call__(self, images, *, train):
        x = ToyBackbone(name="backbone")(images, train=train)[1].mean(axis=(1, 2))
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9, name="head_bn")(
            nn.Dense(3, name="head")(x)
        )
        return x.sum(axis=-1)


def make_toy_detection(size_px: int = 8) -> Task:
    """Regress each image's first box coordinate."""
    model = ToyDetector()

    def init(rng):
        return dict(model.init(rng, jnp.zeros((1, size_px, size_px, 3)), train=False))

    def loss(variables, batch, rng):
        y, updates = model.apply(variables, batch.images, train=True, mutable=["batch_stats"])
        error = jnp.mean((y - batch.targets.boxes[:, 0, 0]) ** 2)
        count = jnp.float32(len(batch.images))
        return LossTerms(error, jnp.zeros(()), count, jnp.zeros(()), {"toy/error": error}), dict(updates)

    def predict(variables, images):
        return model.apply(variables, images, train=False)

    return Task(init, loss, predict)


def detection_batch(step: int = 0, batch_size: int = 4, size_px: int = 8) -> Batch:
    """Noise with random targets."""
    rng = np.random.default_rng((1, step))
    images = rng.normal(size=(batch_size, size_px, size_px, 3)).astype(np.float32)
    boxes = rng.normal(size=(batch_size, 1, 4)).astype(np.float32)
    ones = np.ones((batch_size, 1), bool)
    targets = BoxTargets(boxes, ones.astype(np.int32), ones, ~ones)
    return jax.tree.map(jnp.asarray, Batch(images, targets, np.zeros(batch_size, bool)))


def class_batch(step: int = 0, batch_size: int = 6, size_px: int = 6) -> Batch:
    """Noise that is brighter in the channel of its class."""
    rng = np.random.default_rng((2, step))
    classes = rng.integers(0, NUM_CLASSES, batch_size).astype(np.int32)
    images = rng.normal(size=(batch_size, size_px, size_px, 3)).astype(np.float32)
    images += (classes[:, None] == np.arange(3))[:, None, None, :] * 3.0
    return jax.tree.map(jnp.asarray, Batch(images, ClassTargets(classes), np.zeros(batch_size, bool)))
