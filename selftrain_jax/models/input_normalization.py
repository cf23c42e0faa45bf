"""From pixels as they travel to the devices, one byte a value, to the network's input; call `take_pixels`.

The only place that normalises images: training, evaluation, labelling and selection all come by here. In a
compiled step it is fused with what reads its result.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float32, PRNGKeyArray

from selftrain_jax.types import Batch, DenseBoxes, FittedImages, LossTerms, Task, Variables

MEAN_RGB = (0.485, 0.456, 0.406)
STDDEV_RGB = (0.229, 0.224, 0.225)


def normalize(fitted: FittedImages) -> Float32[Array, "B H W 3"]:
    """Turn RGB values 0..255 into (x/255 - mean) / stddev, and what an image does not cover into 0.

    Whatever values the padding has: no value of 8 bits is the mean colour exactly.
    """
    scale = jnp.array([1.0 / (255.0 * stddev) for stddev in STDDEV_RGB], jnp.float32)
    shift = jnp.array([mean / stddev for mean, stddev in zip(MEAN_RGB, STDDEV_RGB, strict=True)], jnp.float32)
    rows, columns = (
        jnp.arange(side_px) < fitted.covered_px[:, axis, None]
        for axis, side_px in enumerate(fitted.images.shape[1:3])
    )
    is_covered = rows[:, :, None, None] & columns[:, None, :, None]
    return jnp.where(is_covered, fitted.images.astype(jnp.float32) * scale - shift, 0.0)


def take_pixels(task: Task) -> Task:
    """Make a task of normalised images take the batches and the images of the pipeline: `FittedImages`."""

    def loss(variables: Variables, batch: Batch, rng: PRNGKeyArray) -> tuple[LossTerms, Variables]:
        return task.loss(variables, _normalize_batch(batch), rng)

    def predict(variables: Variables, fitted: FittedImages) -> object:
        return task.predict(variables, normalize(fitted))

    def features(variables: Variables, fitted: FittedImages) -> Array:
        assert task.features is not None
        return task.features(variables, fitted._replace(images=normalize(fitted)))

    def dense(variables: Variables, fitted: FittedImages) -> DenseBoxes:
        assert task.dense is not None
        return task.dense(variables, normalize(fitted))

    return task._replace(
        loss=loss, predict=predict, features=task.features and features, dense=task.dense and dense
    )


def fitted_images(batch: Batch) -> FittedImages:
    """Return the images of a batch that are not normalised yet."""
    assert batch.covered_px is not None, "the images of this batch are normalised already"
    return FittedImages(batch.images, batch.covered_px)


def _normalize_batch(batch: Batch) -> Batch:
    auxiliary = None if batch.auxiliary is None else _normalize_batch(batch.auxiliary)
    return batch._replace(images=normalize(fitted_images(batch)), covered_px=None, auxiliary=auxiliary)
