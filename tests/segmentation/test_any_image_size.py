"""An image size that 32 does not divide is that of a larger network with the image padded by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.models.segmenter import make_segmenter
from selftrain_jax.segmentation.task import make_segmentation_task
from selftrain_jax.types import IGNORED, Batch, MaskTargets

pytestmark = pytest.mark.compiles

NUM_CLASSES, SIZE_PX, CELLS, PADDED_PX = 3, 41, 11, 64
MODEL = make_segmenter(
    backbone="resnet18",
    num_classes=NUM_CLASSES,
    width_factor=0.125,
    neck="fpn",
    max_level=5,
    fpn_channels=8,
    head_channels=8,
    head_convs=1,
)
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.normal(size=(4, SIZE_PX, SIZE_PX, 3)).astype(np.float32)
MASKS = RANDOM.choice([0, 1, 2, IGNORED], (4, SIZE_PX, SIZE_PX)).astype(np.uint8)
IS_PSEUDO = np.array([False, True, False, False])


def pad_by_hand(values, fill):
    padded = np.full((4, PADDED_PX, PADDED_PX, *values.shape[3:]), fill, values.dtype)
    padded[:, :SIZE_PX, :SIZE_PX] = values
    return padded


def make_task(size_px, resolution="stride4"):
    return make_segmentation_task(model=MODEL, image_size_px=size_px, loss_resolution=resolution)


@pytest.fixture(scope="module")
def variables():
    """Draw by numpy what init would, which spares compiling it."""

    def draw(path, x):
        if path[-1].key == "kernel":
            return jnp.asarray(RANDOM.normal(size=x.shape) * 0.1, jnp.float32)
        return jnp.full(x.shape, path[-1].key in ("scale", "var"), jnp.float32)

    return jax.tree_util.tree_map_with_path(draw, jax.eval_shape(make_task(SIZE_PX).init, jax.random.key(0)))


def test_logits_are_those_of_the_larger_network_cropped_to_the_asked_size(variables):
    found = jax.jit(make_task(SIZE_PX).predict)(variables, IMAGES).logits
    larger = jax.jit(make_task(PADDED_PX).predict)(variables, pad_by_hand(IMAGES, 0)).logits
    assert found.shape == (4, CELLS, CELLS, NUM_CLASSES)
    np.testing.assert_array_equal(found, larger[:, :CELLS, :CELLS])
    assert np.ptp(found) > 0


def total_loss(params, size_px, resolution, variables, images, masks):
    """Return the loss of both sources, and new statistics and metrics."""
    batch = Batch(images, MaskTargets(masks), jnp.asarray(IS_PSEUDO))
    task = make_task(size_px, resolution)
    terms, updates = task.loss({**variables, "params": params}, batch, jax.random.key(0))
    return terms.human + terms.pseudo, (updates, terms.metrics)


gradient_of = jax.jit(jax.value_and_grad(total_loss, has_aux=True), static_argnums=(1, 2))


def test_loss_and_gradient_are_those_of_targets_padded_with_ignored(variables):
    (loss, (updates, metrics)), gradient = gradient_of(
        variables["params"], SIZE_PX, "stride4", variables, IMAGES, MASKS
    )
    by_hand = pad_by_hand(IMAGES, 0), pad_by_hand(MASKS, IGNORED)
    (expected, (updates_by_hand, larger)), gradient_by_hand = gradient_of(
        variables["params"], PADDED_PX, "stride4", variables, *by_hand
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, updates, updates_by_hand)
    for found, value in zip(jax.tree.leaves(gradient), jax.tree.leaves(gradient_by_hand), strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-6 * np.abs(value).max())
    np.testing.assert_allclose(metrics["train/pixel_accuracy_human"], larger["train/pixel_accuracy_human"])
    at_stride = MASKS[~IS_PSEUDO, ::4, ::4]  # the share is of the asked size
    np.testing.assert_allclose(metrics["train/valid_pixels_human"], (at_stride != IGNORED).mean(), rtol=1e-6)


def test_at_full_resolution_no_pixel_beside_the_image_is_learnt_from(variables):
    """With labels in one corner, far from where the two frames differ, the losses are the same."""
    masks = np.full_like(MASKS, IGNORED)
    masks[:, :20, :20] = MASKS[:, :20, :20]
    by_hand = pad_by_hand(IMAGES, 0), pad_by_hand(masks, IGNORED)
    losses = [
        jax.jit(total_loss, static_argnums=(1, 2))(variables["params"], size_px, "full", variables, *batch)[0]
        for size_px, batch in ((SIZE_PX, (IMAGES, masks)), (PADDED_PX, by_hand))
    ]
    np.testing.assert_allclose(*losses, rtol=1e-5)
    assert losses[0] > 0
